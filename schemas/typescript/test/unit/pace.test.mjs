// How fast commands go out, against the buckets of the server (protocol/src/limits.rs), over networks that push commands together.

import assert from "node:assert/strict";
import { test } from "node:test";

import { seeded, source } from "../support/source.mjs";

const { pacing } = await source("pace.ts");

/** What the server counts: a bucket that starts full. */
function bucket(perSecond, burst) {
  let left = burst;
  let at = 0;
  return (amount, now) => {
    left = Math.min(burst, left + ((now - at) * perSecond) / 1000);
    at = now;
    const wanted = Math.min(amount, burst);
    if (left + 1e-6 < wanted) return false;
    left -= wanted;
    return true;
  };
}

test("limit_02 and limit_12: whatever is asked for, as fast as it may go, the server refuses nothing, up to half a burst of jitter", () => {
  const { next, below } = seeded(7);
  for (let run = 0; run < 200; run += 1) {
    const limits = { commands_per_second: 1 + below(64), command_burst: 1 + below(128), targets_per_second: 1 + below(512), target_burst: 1 + below(2048) };
    const pace = pacing();
    pace.begin(limits);
    const commands = bucket(limits.commands_per_second, limits.command_burst);
    const targets = bucket(limits.targets_per_second, limits.target_burst);
    // Half of the burst of commands, in time: later ones may come closer to earlier ones by so much.
    const jitter = Math.max(0, Math.min((limits.command_burst / 2 - 1) / limits.commands_per_second, (limits.target_burst / 2 - 1) / limits.targets_per_second) * 1000 - 1);
    let now = 1000;
    let arrival = 0;
    let sent = 0;
    for (let step = 0; step < 400; step += 1) {
      const amount = below(4) ? 0 : 1 + below(256);
      const wait = pace.take(amount, now);
      if (wait) {
        now += wait;
        continue;
      }
      arrival = Math.max(arrival, now + next() * jitter);
      assert.ok(commands(1, arrival), `run ${run}: too many commands`);
      if (amount <= limits.target_burst / 2) assert.ok(targets(amount, arrival), `run ${run}: too many targets`);
      sent += 1;
      now += next() < 0.05 ? 2000 * next() : 0;
    }
    assert.ok(sent > 100, "it goes on");
  }
});

test("what the server does not limit goes at once; what it holds back waits as long as it says; a new connection begins anew", () => {
  const pace = pacing();
  pace.begin();
  for (let sent = 0; sent < 10_000; sent += 1) assert.equal(pace.take(256, 1), 0);
  pace.hold(500, 1);
  assert.deepEqual([pace.take(0, 1), pace.take(0, 400.5), pace.take(0, 501)], [500, 101, 0]);
  pace.begin({ commands_per_second: 2, command_burst: 4 });
  assert.deepEqual([pace.take(0, 600), pace.take(0, 600), pace.take(0, 600)], [0, 0, 500]);
  pace.begin({ commands_per_second: 2, command_burst: 4 });
  assert.equal(pace.take(0, 600), 0);
  // After a refusal the server has no burst left.
  pace.hold(100, 600);
  assert.deepEqual([pace.take(0, 600), pace.take(0, 1200), pace.take(0, 1200)], [600, 0, 500]);
});
