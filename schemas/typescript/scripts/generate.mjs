// Writes the types of src/ that come from the schemas: events.ts, commands.ts, publications.ts and the list in known.ts. Never edit those
// by hand; change the catalog, run `cargo xtask schemas`, then this.
//
//     node scripts/generate.mjs [--to DIRECTORY]

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { compile } from "json-schema-to-typescript";

const here = fileURLToPath(new URL("..", import.meta.url));
const published = join(here, "../v1");
const read = (path) => JSON.parse(readFileSync(join(published, path), "utf8"));
const banner = (from) => `// Generated from schemas/v1/${from} by scripts/generate.mjs. Do not edit.\n`;

/**
 * A reader accepts members that it does not know, so the schemas are open. In TypeScript openness would be an index signature,
 * under which every misspelt member is `unknown` and compiles; structural types are open without it. Free-form objects keep it.
 */
function named(schema) {
  if (Array.isArray(schema)) return schema.map(named);
  if (schema === null || typeof schema !== "object") return schema;
  const copy = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, ["examples", "const", "enum", "default"].includes(key) ? value : named(value)]));
  if (schema.type === "object" && schema.properties === undefined && schema.additionalProperties === undefined) copy.additionalProperties = true;
  return copy;
}

/** The generated files by name. */
export async function generate() {
  const index = read("index.json");
  const types = async (path, change = (schema) => schema) => {
    const style = { printWidth: 120 };
    return compile(named(change(read(path))), "Root", { bannerComment: banner(path), unreachableDefinitions: false, additionalProperties: false, style });
  };
  const known = `${banner("index.json")}
import type { Event, IncomingEvent } from "./events.js";

/** The \`type\` of every event that this version knows. */
export const EVENT_TYPES = [
${index.events.map(({ type }) => `  ${JSON.stringify(type)},`).join("\n")}
] as const satisfies readonly Event["type"][];

const known: ReadonlySet<string> = new Set(EVENT_TYPES);

/**
 * Whether an event is of a type that this version knows. Afterwards a \`switch\` over \`event.type\` is exhaustive. What is
 * not known comes from a newer server or from vendor space; keep it or drop it, and go on.
 */
export function isKnown(event: IncomingEvent): event is Event {
  return known.has(event.type);
}

export type * from "./events.js";
`;
  // A type of any text would take in every publication that is wrong.
  const vendor = (schema) => {
    schema.$defs.VendorPublication.properties.type.tsType = "`_${string}.${string}`";
    return schema;
  };
  return {
    "events.ts": await types(index.roots.incoming),
    "commands.ts": await types(index.roots.command),
    "publications.ts": await types(index.roots.publish, vendor),
    "known.ts": known,
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const at = process.argv.indexOf("--to");
  const to = at > 0 ? process.argv[at + 1] : join(here, "src");
  mkdirSync(to, { recursive: true });
  for (const [name, text] of Object.entries(await generate())) writeFileSync(join(to, name), text);
}
