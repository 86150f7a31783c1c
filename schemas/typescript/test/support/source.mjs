// Modules of src/ for tests of the parts that dist/ does not show.

import { fileURLToPath } from "node:url";

import * as esbuild from "esbuild";

/** Imports `src/<name>`. */
export async function source(name) {
  const { outputFiles } = await esbuild.build({ entryPoints: [fileURLToPath(new URL(`../../src/${name}`, import.meta.url))], bundle: true, format: "esm", target: "es2022", write: false });
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString("base64")}`);
}

/** A seeded generator of numbers from 0 to below 1 (mulberry32). */
export function seeded(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return { next, below: (bound) => Math.floor(next() * bound), pick: (list) => list[Math.floor(next() * list.length)] };
}
