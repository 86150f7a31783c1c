// When a client comes back (rule WS-05), against the table of the protocol.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { seeded, source } from "../support/source.mjs";

const { after, reconnecting } = await source("reconnect.ts");

test("every close code of protocol/src/close.rs is followed by what its table says", () => {
  const table = readFileSync(new URL("../../../../protocol/src/close.rs", import.meta.url), "utf8");
  const rows = [...table.matchAll(/^ {4}\w+ = (\d+), (Reconnect|RefreshToken|Stop);$/gm)];
  assert.ok(rows.length >= 14);
  for (const [, code, next] of rows) assert.equal(after(Number(code)), { Reconnect: "retry", RefreshToken: "refresh", Stop: "stop" }[next], code);
  // What is in no table says nothing about us.
  for (const code of [1005, 1006, 1011, 1013, 1015, 3000, 4500]) assert.equal(after(code), "retry", String(code));
});

test("a refusal by status is tried again only where it may pass", () => {
  for (const [status, then] of [[400, "stop"], [401, "refresh"], [403, "stop"], [404, "stop"], [406, "stop"], [408, "retry"], [421, "stop"], [426, "stop"], [429, "retry"], [500, "retry"], [502, "retry"], [503, "retry"], [504, "retry"]]) assert.equal(after(status), then, String(status));
});

test("waits are drawn from nothing to a bound that doubles up to the maximum", () => {
  const { next } = seeded(1);
  for (let run = 0; run < 200; run += 1) {
    const minDelay = 1 + Math.floor(next() * 1000);
    const maxDelay = minDelay + Math.floor(next() * 60_000);
    const policy = reconnecting({ minDelay, maxDelay });
    let bound = minDelay;
    for (let attempt = 1; attempt < 20; attempt += 1) {
      const random = next();
      const step = policy.next(1006, undefined, 0, random, false);
      assert.equal(step.attempt, attempt);
      assert.equal(step.delay, random * Math.min(bound, maxDelay));
      bound *= 2;
    }
  }
});

test("the server chooses when its clients return, or that they do not", () => {
  assert.deepEqual(reconnecting({}).next(1012, 1234, 0, 0.5, false), { attempt: 1, delay: 1234, refresh: false });
  assert.equal(reconnecting({}).next(1012, -1, 0, 0.5, false), undefined);
});

test("attempts end at their maximum and begin again after a connection that worked", () => {
  const policy = reconnecting({ maxAttempts: 2, stableAfter: 10_000, minDelay: 1000 });
  const attempt = (now, welcomedAt, delivered) => {
    if (welcomedAt !== undefined) policy.welcomed(welcomedAt);
    if (delivered) policy.delivered();
    return policy.next(1006, undefined, now, 0.999, false)?.attempt;
  };
  // Welcomed and thrown out again is no success; what lasted, or delivered something, is.
  assert.deepEqual([attempt(0), attempt(1000, 500), attempt(20_000, 2000), attempt(21_000), attempt(22_000, 21_999, true), attempt(23_000), attempt(24_000, 23_900), attempt(25_000)], [1, 2, 1, 2, 1, 2, undefined, undefined]);
});

test("connections that are cut again and again after they worked do not stay away longer and longer, nor end", () => {
  // A proxy that ends every stream after 9 s: nothing was published, so only its time speaks for it.
  for (const [lasts, delivers] of [[9_000, false], [600, false], [50, true]]) {
    const policy = reconnecting({ maxAttempts: 3, minDelay: 500 });
    let now = 0;
    for (let cut = 0; cut < 50; cut += 1) {
      policy.welcomed(now);
      if (delivers) policy.delivered();
      now += lasts;
      const { attempt, delay } = policy.next(1006, undefined, now, 0.999, false);
      assert.deepEqual([attempt, delay <= 500], [1, true], `${lasts} ms, cut ${cut}`);
      now += delay;
    }
  }
});

test("a refused token is exchanged once, then it is the end", () => {
  const policy = reconnecting({ stableAfter: 10_000 });
  assert.deepEqual(policy.next(4001, undefined, 0, 0.9, true), { attempt: 1, delay: 0, refresh: true });
  assert.equal(policy.next(401, undefined, 1, 0.9, true), undefined);
  // After a good connection once more; and also when the server says that one should not come back as one is.
  policy.welcomed(0);
  assert.equal(policy.next(4001, -1, 20_000, 0.9, true).refresh, true);
  assert.equal(reconnecting({}).next(4001, undefined, 0, 0, false), undefined);
});
