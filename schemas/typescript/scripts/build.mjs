// Builds dist/ from src/: index.js, the core in one minified file without imports, which a page can load as it is; the other
// entry points; and the types of all. The gateway's inspector uses the core, and gets a copy: a crate holds nothing from outside of its
// folder. Prints the size of the core and fails above 6 KiB.
//
//     node scripts/build.mjs [--check]
//
// With --check nothing is written: everything is built beside, and a difference from what is committed fails.

import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import * as esbuild from "esbuild";
import ts from "typescript";

import { generate } from "./generate.mjs";

const here = fileURLToPath(new URL("..", import.meta.url));
/** Largest core in bytes: minified by esbuild, gzip -9. */
export const LIMIT = 6 * 1024;

/** The inspector's copy of dist/index.js. */
const COPY = join(here, "../../transports/gateway/web/eventwire.js");

/** Names of members that only the modules of the core know: of targets, links and the session. They become short. */
const INTERNAL = "named under deaf behind heard asked wish last frame cursor link welcomed over lost begin query cut take hold later flush delivered roots reopen sent call open pending emit wanted refresh delay command at end";

/** What a page bundles, by what it imports. */
export const ENTRIES = {
  core: `export * from "./index.js";`,
  "iterators and quality, beside the core": `export * from "./iterate.js";`,
  "targets for parts of a page, beside the core": `export * from "./follow.js";`,
  "hooks for React, beside the core": `export * from "./react.js";`,
  "publisher, beside the core": `export * from "./publisher.js";`,
  "list of known types": `export { isKnown } from "./known.js";`,
};

async function bundle(contents, resolveDir, options = {}) {
  const { outputFiles } = await esbuild.build({ bundle: true, format: "esm", target: "es2022", write: false, ...options, stdin: { contents, resolveDir } });
  return Buffer.from(outputFiles[0].contents).toString();
}

/** Bytes of every entry as a page gets it: bundled and minified by esbuild, gzip -9. */
export async function sizes() {
  const found = {};
  for (const [name, contents] of Object.entries(ENTRIES)) {
    const external = name === "core" ? [] : ["react", "./index.js"];
    found[name] = gzipSync(await bundle(contents, join(here, "dist"), { minify: true, external }), { level: 9 }).length;
  }
  return found;
}

const banner = "// @eventwire/client, MIT OR Apache-2.0. Built by scripts/build.mjs from src/, which is in the package.\n";

/** Everything in dist/, by name. */
async function build() {
  const config = ts.getParsedCommandLineOfConfigFile(join(here, "tsconfig.json"), {}, { ...ts.sys, onUnRecoverableConfigFileDiagnostic: (problem) => { throw new Error(ts.flattenDiagnosticMessageText(problem.messageText, "\n")); } });
  const program = ts.createProgram(config.fileNames, config.options);
  const files = {};
  const { diagnostics } = program.emit(undefined, (path, text) => (files[path.slice(join(here, "dist").length + 1)] = text));
  const problems = [...ts.getPreEmitDiagnostics(program), ...diagnostics];
  if (problems.length) throw new Error(ts.formatDiagnostics(problems, { getCanonicalFileName: (name) => name, getCurrentDirectory: () => here, getNewLine: () => "\n" }));
  // The core is one small file; what is beside it has an entry point of its own.
  for (const name of Object.keys(files)) if (name.endsWith(".js") && !["follow.js", "iterate.js", "known.js", "publisher.js", "react.js"].includes(name)) delete files[name];
  const mangleProps = new RegExp(`^(${INTERNAL.replaceAll(" ", "|")})$`);
  files["index.js"] = banner + (await bundle(`export * from "./index.ts";`, join(here, "src"), { minify: true, mangleProps }));
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
    const made = await build();
    const copied = existsSync(COPY) ? readFileSync(COPY, "utf8") : undefined;
    const stale = [
      ...differences(generated, Object.fromEntries(Object.keys(generated).map((name) => [name, source[name]])), "src"),
      ...differences(made, existing(dist), "dist"),
      ...(copied === made["index.js"] ? [] : ["transports/gateway/web/eventwire.js is not dist/index.js"]),
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
    writeFileSync(COPY, made["index.js"]);
  }
  const found = await sizes();
  for (const [name, bytes] of Object.entries(found)) console.log(`${name}: ${bytes} bytes gzip`);
  if (found.core > LIMIT) {
    console.error(`the core has ${found.core} bytes, and ${LIMIT} are allowed`);
    process.exit(1);
  }
}
