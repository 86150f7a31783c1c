// What a team sees in its editor: the published types under `tsc --strict`.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import ts from "typescript";

const here = fileURLToPath(new URL("../..", import.meta.url));
const types = readFileSync(join(here, "dist/known.js"), "utf8").match(/^ {4}"[a-z_.]+",$/gm).map((line) => JSON.parse(line.trim().slice(0, -1)));

function problems(text, name = "app.mts") {
  // Inside the package, so that `@eventwire/client` is resolved by its own package.json, as an application would.
  const scratch = mkdtempSync(join(here, ".types-"));
  try {
    const path = join(scratch, name);
    writeFileSync(path, text);
    const options = { strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, noEmit: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, lib: ["lib.es2022.d.ts", "lib.dom.d.ts"], types: [], jsx: ts.JsxEmit.ReactJSX, skipLibCheck: true };
    return ts.getPreEmitDiagnostics(ts.createProgram([path], options)).map((it) => ts.flattenDiagnosticMessageText(it.messageText, "\n"));
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

const handler = (cases) => `
import type { Event, IncomingEvent } from "@eventwire/client";
import { isKnown } from "@eventwire/client/events";
export function handle(incoming: IncomingEvent): string {
  if (!isKnown(incoming)) return incoming.type;
  const event: Event = incoming;
  switch (event.type) {
${cases.map((type) => `    case ${JSON.stringify(type)}: return event.to;`).join("\n")}
    default: { const forgotten: never = event; return forgotten; }
  }
}`;

test("a switch over every type is exhaustive, and one that forgets a type does not compile", () => {
  assert.ok(types.length > 80, String(types.length));
  assert.deepEqual(problems(handler(types)), []);
  const found = problems(handler(types.slice(1)));
  assert.ok(found.some((problem) => problem.includes("'never'")), found.join("\n"));
});

test("handlers and iterators are typed by the event, and a misspelt member does not compile", () => {
  const use = (member) => `
import { connect, type EventOf } from "@eventwire/client";
import { events } from "@eventwire/client/iterate";
const client = connect("https://example.org", { targets: ["adw:29fb6a3e"], token: async () => "t" });
const off: () => void = client.on("adw.text_block", (event) => { const text: string = event.data.${member}; void text; });
client.on("gap", ({ stream, reason }) => { void [stream, reason]; });
client.on("*", (event) => { void event.type; });
export async function read(): Promise<EventOf<"adw.tool_use_pre"> | undefined> {
  for await (const event of events(client, { types: ["adw.tool_use_pre"] })) return event;
  off();
  return undefined;
}`;
  assert.deepEqual(problems(use("content")), []);
  assert.ok(problems(use("contents")).some((problem) => problem.includes("contents")));
});

test("the type of an event is exported by the core and by the list of known types", () => {
  const use = (from) => `import type { AdwTextBlockEvent, ConnectionWelcomeData, IncomingEvent } from "${from}"; export const text = (event: AdwTextBlockEvent): string => event.data.content; export type { ConnectionWelcomeData, IncomingEvent };`;
  for (const from of ["@eventwire/client", "@eventwire/client/events"]) assert.deepEqual(problems(use(from)), [], from);
});

test("the example in React type-checks as it stands", () => {
  const text = readFileSync(join(here, "example/react.tsx"), "utf8");
  assert.deepEqual(problems(text, "app.tsx"), []);
  assert.notDeepEqual(problems(text.replace("since: 0, reduce", "sinse: 0, reduce"), "app.tsx"), []);
});

test("a wrong publication does not compile, and a right one does", () => {
  const use = (publication) => `
import { Publisher, type Publication } from "@eventwire/client/publisher";
const publication: Publication = ${publication};
export const done: Promise<{ seq?: number }> = new Publisher("http://127.0.0.1:4800").publish(publication);`;
  const block = (more) => `{ type: "adw.text_block", to: "adw:29fb6a3e", data: { adw_id: "29fb6a3e", content: "Hello" }${more} }`;
  assert.deepEqual(problems(use(block(', id: "one"'))), []);
  assert.deepEqual(problems(use(`{ type: "_acme.lamp_switched", to: "room:tasks", data: { on: true } }`)), []);
  for (const [what, wrong] of [
    ["a type that is not in the catalog", block("").replace("adw.text_block", "adw.text_blok")],
    ["a missing member", block("").replace(', content: "Hello"', "")],
    ["a member of another type", block("").replace('"Hello"', "1")],
    ["a misspelt member", block("").replace("content", "contents")],
    ["no audience", block("").replace('to: "adw:29fb6a3e", ', "")],
    ["a vendor type without a family", `{ type: "_lamp", to: "room:tasks", data: {} }`],
    ["an event that only a server sends", `{ type: "connection.pong", to: "connection:c0000000000000001", data: {} }`],
  ]) assert.notDeepEqual(problems(use(wrong)), [], what);
});
