// Where the descriptions of the older systems are on this machine, and how checks are reported.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const workspace = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

// The text of the description whose number is `number` ("001"); undefined where there is none.
export function seed(number) {
  const shared = resolve(workspace, process.env.EVENTWIRE_SHARED ?? "../shared");
  const folder = join(shared, "seeds");
  const name = existsSync(folder) ? readdirSync(folder).find((name) => name.startsWith(`${number}_`)) : undefined;
  return name && readFileSync(join(folder, name), "utf8");
}

// The text inside of the fenced block of `text` that holds `mark`.
export function fenced(text, mark) {
  const blocks = [...text.matchAll(/^([ \t]*)```\w*\n([\s\S]*?)^\1```/gm)].map((match) => match[2]);
  const found = blocks.filter((block) => block.includes(mark));
  if (found.length !== 1) throw new Error(`${found.length} blocks hold ${JSON.stringify(mark)}`);
  return found[0];
}

// Waits until `ready` gives something true, not for ever.
export async function until(what, ready, milliseconds = 10_000) {
  const deadline = Date.now() + milliseconds;
  for (;;) {
    const value = await ready();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`${what}: nothing within ${milliseconds} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

// Runs checks one after the other, prints a line for each, and ends the process: 0 when all held.
export async function run(checks) {
  let failed = 0;
  for (const [name, check] of checks) {
    try {
      await check();
      console.log(`ok      ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED  ${name}: ${error.message}`);
    }
  }
  console.log(failed ? `${failed} of ${checks.length} failed` : `all ${checks.length} held`);
  process.exit(failed ? 1 : 0);
}
