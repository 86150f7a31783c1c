// The publisher against a real gateway, which is killed and started again under it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { connect } from "../../dist/index.js";
import { connected } from "../../dist/iterate.js";
import { Publisher } from "../../dist/publisher.js";
import { gateway, until } from "../support/gateway.mjs";

test("events arrive once and in order, a repeated id is one event, and a refusal names its reason", { timeout: 60_000 }, async () => {
  const server = await gateway();
  const client = connect(server.url, { targets: ["adw:29fb6a3e"] });
  const got = [];
  client.on("adw.text_block", (event) => got.push(event.data.content));
  try {
    await connected(client);
    await client.subscribe("adw:29fb6a3e");
    const publisher = new Publisher(server.url);
    const block = (content, more = {}) => ({ type: "adw.text_block", to: "adw:29fb6a3e", data: { adw_id: "29fb6a3e", content }, ...more });
    const outcomes = await publisher.publishAll(Array.from({ length: 1_500 }, (_, n) => block(`${n}`)));
    assert.ok(outcomes.every((outcome) => outcome.seq > 0));
    const [one, again] = [await publisher.publish(block("once", { id: "one" })), await publisher.publish(block("once", { id: "one" }))];
    assert.deepEqual(one, again);
    await assert.rejects(publisher.publish({ ...block("x"), to: "room:tasks" }), { code: "audience_not_allowed" });
    await publisher.publish(block("half \ud83d"));
    await until(() => got.at(-1) === "half \ufffd", "the last event");
    assert.deepEqual(got, [...Array.from({ length: 1_500 }, (_, n) => `${n}`), "once", "half \ufffd"]);
    await publisher.close();
  } finally {
    client.close();
    await server.kill();
  }
});

test("a gateway that is started again gets what waited", { timeout: 60_000 }, async () => {
  const first = await gateway();
  const publisher = new Publisher(first.url, { backoff: { minDelay: 50, maxDelay: 200, maxAttempts: 100 } });
  await publisher.publish({ type: "_test.note", to: "room:tasks", data: {} });
  await first.kill();
  const waits = publisher.publish({ type: "_test.note", to: "room:tasks", data: { after: "the restart" } });
  const second = await gateway({ port: first.port });
  try {
    assert.equal((await waits).to, "room:tasks");
  } finally {
    await second.kill();
  }
});
