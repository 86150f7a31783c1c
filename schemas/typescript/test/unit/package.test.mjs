// What is published, and that what is committed is what its sources give.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL("../..", import.meta.url));
const run = (command, ...args) => spawnSync(command, args, { cwd: here, encoding: "utf8" });

test("types and dist/ are what the schemas and src/ give, and the core has at most 6 KiB", (t) => {
  const { status, stdout, stderr } = run(process.execPath, "scripts/build.mjs", "--check");
  assert.equal(status, 0, stderr);
  t.diagnostic(stdout.trim());
  console.log(stdout.trim());
  assert.ok(Number(/^core: (\d+)/.exec(stdout)[1]) <= 6 * 1024);
});

test("the package holds dist, src, README and licenses, and nothing else", () => {
  const { status, stdout, stderr } = run("npm", "pack", "--dry-run", "--json", "--ignore-scripts");
  assert.equal(status, 0, stderr);
  const files = JSON.parse(stdout)[0].files.map(({ path }) => path);
  for (const wanted of ["README.md", "LICENSE-MIT", "LICENSE-APACHE", "package.json", "dist/index.js", "dist/index.d.ts", "dist/events.d.ts", "dist/react.js", "dist/iterate.js", "dist/known.js", "src/session.ts"]) assert.ok(files.includes(wanted), `${wanted} is missing`);
  const other = files.filter((path) => !/^(README\.md|LICENSE-(MIT|APACHE)|package\.json|dist\/\w+(\.d)?\.(ts|js)|src\/\w+\.ts)$/.test(path));
  assert.deepEqual(other, []);
});

test("the package installs from its archive, without anything else, and every entry point of the core is there", () => {
  const scratch = mkdtempSync(join(tmpdir(), "eventwire-install-"));
  try {
    const { stdout } = run("npm", "pack", "--json", "--ignore-scripts", "--pack-destination", scratch);
    const [{ filename }] = JSON.parse(stdout);
    writeFileSync(join(scratch, "package.json"), '{"private":true,"type":"module"}');
    const install = spawnSync("npm", ["install", "--offline", "--no-audit", "--no-fund", "--omit=peer", join(scratch, filename)], { cwd: scratch, encoding: "utf8" });
    assert.equal(install.status, 0, install.stderr);
    const names = Object.keys(JSON.parse(readFileSync(`${here}/package.json`, "utf8")).exports).filter((name) => !["./react", "./package.json"].includes(name));
    const imports = names.map((name) => `await import("@eventwire/client${name.slice(1)}")`);
    const loaded = spawnSync(process.execPath, ["--input-type=module", "-e", `${imports.join(";")}; console.log("loaded")`], { cwd: scratch, encoding: "utf8" });
    assert.equal(loaded.stdout, "loaded\n", loaded.stderr);
  } finally {
    rmSync(scratch, { recursive: true });
  }
});

test("the licenses are those of the repository, and every entry point exists", async () => {
  for (const name of ["LICENSE-MIT", "LICENSE-APACHE"]) assert.equal(readFileSync(`${here}/${name}`, "utf8"), readFileSync(`${here}/../../${name}`, "utf8"));
  const { exports, dependencies } = JSON.parse(readFileSync(`${here}/package.json`, "utf8"));
  assert.equal(dependencies, undefined);
  for (const entry of Object.values(exports)) for (const path of Object.values(typeof entry === "string" ? [entry] : entry)) assert.ok(readFileSync(`${here}/${path}`));
});
