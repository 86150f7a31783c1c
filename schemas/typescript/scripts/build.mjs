// Builds dist/ from src/: one module each with its types by tsc, and eventwire.min.js, the core in one file for pages without
// a bundler. Prints the size of the core and fails above 5 KB.
//
//     node scripts/build.mjs [--check]
//
// With --check nothing is written: everything is built beside, and a difference from what is committed fails.

import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import * as esbuild from "esbuild";
import ts from "typescript";

import { generate } from "./generate.mjs";

const here = fileURLToPath(new URL("..", import.meta.url));
/** Largest core in bytes: minified by esbuild, gzip -9. */
export const LIMIT = 5 * 1024;

/** What a page bundles, by what it imports. */
export const ENTRIES = {
  core: `export { connect } from "./index.ts";`,
  "core and iterators": `export { connect, events, connected } from "./index.ts";`,
  "list of known types": `export { isKnown } from "./known.ts";`,
  "React hooks": `export * from "./react.ts";`,
};

async function bundle(contents, external = []) {
  const options = { bundle: true, minify: true, format: "esm", target: "es2022", write: false, legalComments: "none", external };
  const { outputFiles } = await esbuild.build({ ...options, stdin: { contents, resolveDir: join(here, "src"), loader: "ts" } });
  return outputFiles[0].contents;
}

/** Bytes after gzip of every entry. */
export async function sizes() {
  const found = {};
  for (const [name, contents] of Object.entries(ENTRIES)) found[name] = gzipSync(await bundle(contents, ["react"]), { level: 9 }).length;
  return found;
}

/** Everything in dist/, by name. */
async function build() {
  const config = ts.getParsedCommandLineOfConfigFile(join(here, "tsconfig.json"), {}, { ...ts.sys, onUnRecoverableConfigFileDiagnostic: (problem) => { throw new Error(ts.flattenDiagnosticMessageText(problem.messageText, "\n")); } });
  const program = ts.createProgram(config.fileNames, config.options);
  const files = {};
  const { diagnostics } = program.emit(undefined, (path, text) => (files[path.slice(join(here, "dist").length + 1)] = text));
  const problems = [...ts.getPreEmitDiagnostics(program), ...diagnostics];
  if (problems.length) throw new Error(ts.formatDiagnostics(problems, { getCanonicalFileName: (name) => name, getCurrentDirectory: () => here, getNewLine: () => "\n" }));
  const banner = "// @eventwire/client, the core in one file; MIT OR Apache-2.0. Built by scripts/build.mjs; the source is in src/.\n";
  files["eventwire.min.js"] = banner + Buffer.from(await bundle(ENTRIES["core and iterators"])).toString();
  return files;
}

const existing = (folder) => {
  try {
    return Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), "utf8")]));
  } catch {
    return {};
  }
};

function differences(made, committed, where) {
  return [...new Set([...Object.keys(made), ...Object.keys(committed)])]
    .filter((name) => made[name] !== committed[name])
    .map((name) => `${where}/${name} ${committed[name] === undefined ? "is missing" : made[name] === undefined ? "has no source" : "is not what its source gives"}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const dist = join(here, "dist");
  if (process.argv.includes("--check")) {
    const source = existing(join(here, "src"));
    const generated = await generate();
    const stale = [
      ...differences(generated, Object.fromEntries(Object.keys(generated).map((name) => [name, source[name]])), "src"),
      ...differences(await build(), existing(dist), "dist"),
    ];
    if (stale.length) {
      console.error(`${stale.join("\n")}\nrun \`npm run generate && npm run build\` in schemas/typescript`);
      process.exit(1);
    }
  } else {
    const made = await build();
    rmSync(dist, { recursive: true, force: true });
    mkdirSync(dist);
    for (const [name, text] of Object.entries(made)) writeFileSync(join(dist, name), text);
  }
  const found = await sizes();
  for (const [name, bytes] of Object.entries(found)) console.log(`${name}: ${bytes} bytes gzip`);
  if (found.core > LIMIT) {
    console.error(`the core has ${found.core} bytes, and ${LIMIT} are allowed`);
    process.exit(1);
  }
}
