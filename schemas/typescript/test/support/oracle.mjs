// What was acknowledged to the publisher, and what a client received of it. The publisher is another process.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** Publishes until `stop`, which resolves with `Map(target -> [{n, seq} or {n, unknown}])` in order. */
export function publisher(url, targets, pause = 1) {
  const child = spawn(process.execPath, [fileURLToPath(new URL("publisher.mjs", import.meta.url)), url, String(pause), ...targets], { stdio: ["pipe", "pipe", "inherit"] });
  const said = new Map(targets.map((target) => [target, []]));
  const lines = createInterface({ input: child.stdout });
  lines.on("line", (line) => {
    const { to, ...receipt } = JSON.parse(line);
    said.get(to).push(receipt);
  });
  const gone = Promise.all([new Promise((resolve) => child.on("exit", resolve)), new Promise((resolve) => lines.on("close", resolve))]);
  return {
    said,
    async stop() {
      child.stdin.end();
      await gone;
      return said;
    },
  };
}

/** Records what a client is given, per target. */
export function recorder(client) {
  const got = new Map();
  const gaps = [];
  client.on("*", ({ to, seq, data }) => {
    if (!got.has(to)) got.set(to, []);
    got.get(to).push({ n: data.n, seq });
  });
  client.on("gap", (gap) => gaps.push(gap));
  return { got, gaps };
}

/** The last acknowledged number of every target has been received. */
export const complete = (said, got) => [...said].every(([to, receipts]) => receipts.filter(({ seq }) => seq).every(({ seq }, index, all) => index < all.length - 1 || got.get(to)?.at(-1)?.seq >= seq));

/** Nothing lost, nothing twice, order kept. Publications with an unknown end may have come, each once. */
export function check(said, got) {
  let count = 0;
  for (const [to, receipts] of said) {
    const received = got.get(to) ?? [];
    const acknowledged = receipts.filter(({ seq }) => seq);
    const unknown = new Set(receipts.filter(({ seq }) => !seq).map(({ n }) => n));
    assert.deepEqual(received.filter(({ n }) => !unknown.has(n)), acknowledged, `${to}: lost, repeated or out of order`);
    const numbers = received.map(({ seq }) => seq);
    assert.ok(numbers.every((seq, index) => index === 0 || seq > numbers[index - 1]), `${to}: order`);
    count += acknowledged.length;
  }
  return count;
}
