// Runs a group of tests: `node test/run.mjs unit`, `gateway` (needs target/debug/eventwire) or `browser` (and Chromium).

import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const group = process.argv[2];
if (!["unit", "gateway", "browser"].includes(group)) {
  console.error("usage: node test/run.mjs unit|gateway|browser");
  process.exit(2);
}
const folder = fileURLToPath(new URL(group, import.meta.url));
const files = readdirSync(folder).filter((name) => name.endsWith(".test.mjs")).sort();
// Node 22 has a WebSocket without being asked.
const flags = globalThis.WebSocket ? [] : ["--experimental-websocket"];
// One file at a time: they start servers and browsers.
const { status } = spawnSync(process.execPath, [...flags, "--test", "--test-concurrency=1", ...process.argv.slice(3), ...files.map((name) => `${folder}/${name}`)], { stdio: "inherit" });
process.exit(status ?? 1);
