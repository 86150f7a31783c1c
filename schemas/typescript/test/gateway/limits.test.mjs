// Pages with many parts, proxies that hold back or cut, clocks that are set, and what a state says about it, against a real gateway.

import assert from "node:assert/strict";
import { test } from "node:test";

import { connect } from "../../dist/index.js";
import { connected } from "../../dist/iterate.js";
import { gateway, publish, until } from "../support/gateway.mjs";
import { proxy } from "../support/proxy.mjs";

const QUICK = { backoff: { minDelay: 20, maxDelay: 100 } };
const HELD = "nothing arrives on the open connection";

/** A client that must see no error and no end. */
async function page(url, options = {}) {
  const client = connect(url, { ...QUICK, ...options });
  const wrong = [];
  client.on("connection.error", ({ data }) => wrong.push(`${data.code}: ${data.message}`));
  client.on("connection.closing", ({ data }) => wrong.push(data.reason));
  client.on("state", ({ phase }) => phase === "reconnecting" && wrong.push(phase));
  await connected(client);
  return { client, wrong };
}

test("limit_02: a page with 200 rows, each with a target of its own, mounts, unmounts and scrolls without an error", { timeout: 60_000 }, async () => {
  const server = await gateway();
  const { client, wrong } = await page(server.url, { transports: ["websocket"] });
  try {
    const rows = Array.from({ length: 200 }, (_, index) => `room:row-${index}`);
    // All at once.
    await Promise.all(rows.map((to) => client.subscribe(to)));
    await Promise.all(rows.map((to) => client.unsubscribe(to)));
    // Each in a moment of its own, faster than the server takes commands; the application sends something all the while.
    const calls = [];
    const pongs = [];
    for (const [index, to] of rows.entries()) {
      calls.push(client.subscribe(to));
      if (index >= 20) calls.push(client.unsubscribe(rows[index - 20]));
      if (index % 20 === 0) pongs.push(client.send("ping"));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await Promise.all([...calls, ...pongs]);
    assert.deepEqual(client.targets, rows.slice(-20));
    const got = [];
    client.on("*", ({ to }) => got.push(to));
    for (const to of [rows[0], rows[150], rows[199]]) await publish(server.url, to, { n: 1 });
    await until(() => got.length >= 1, "the row that is shown");
    await client.send("ping");
    assert.deepEqual(got, [rows[199]]);
    assert.deepEqual(wrong, []);
  } finally {
    client.close();
    await server.kill();
  }
});

test("a command that the server refuses for its pace goes out again, and its call is answered", { timeout: 60_000 }, async () => {
  const server = await gateway();
  const client = connect(server.url, { ...QUICK, transports: ["websocket"] });
  try {
    await connected(client);
    const limited = new Promise((resolve) => client.on("connection.error", ({ data }) => data.code === "rate_limited" && resolve(data)));
    // Text that is sent as it is counts for the server alone.
    for (let count = 0; count < 63; count += 1) client.sendText('{"type":"ping"}');
    const calls = Array.from({ length: 6 }, () => client.send("ping"));
    calls.push(client.subscribe("room:a"), client.unsubscribe("room:b"));
    await limited;
    await Promise.all(calls);
    assert.equal(client.state.phase, "connected");
    assert.deepEqual(client.targets, ["room:a"]);
  } finally {
    client.close();
    await server.kill();
  }
});

for (const transports of [["websocket"], ["sse"]]) {
  test(`${transports}: a proxy that holds everything back has a reason of its own`, { timeout: 60_000 }, async () => {
    const server = await gateway();
    const net = await proxy(server.port);
    net.set({ kind: "hold" });
    const client = connect(net.url, { ...QUICK, transports, timeout: 400 });
    try {
      const state = await until(() => client.state.phase === "reconnecting" && client.state, "noticed");
      assert.deepEqual([state.code, state.reason], [1006, HELD]);
      net.set({ kind: "pass" });
      await connected(client);
      // It begins to buffer in the middle of the stream.
      client.close();
    } finally {
      client.close();
      await net.close();
      await server.kill();
    }
  });

  test(`${transports}: a proxy that ends every connection after a while costs no growing waits and no end`, { timeout: 60_000 }, async () => {
    const server = await gateway();
    const net = await proxy(server.port);
    net.set({ kind: "end after", ms: 250 });
    const client = connect(net.url, { transports, targets: ["room:a"], backoff: { minDelay: 100, maxAttempts: 2 } });
    const attempts = [];
    const got = [];
    client.on("state", (state) => state.phase === "reconnecting" && attempts.push(state.attempt));
    client.on("*", ({ data }) => got.push(data.n));
    try {
      await connected(client);
      await client.subscribe("room:a");
      let n = 0;
      while (attempts.length < 8) {
        await publish(server.url, "room:a", { n: ++n });
        await new Promise((resolve) => setTimeout(resolve, 40));
      }
      assert.deepEqual([...new Set(attempts)], [1]);
      net.set({ kind: "pass" });
      await until(() => got.length === n, () => `everything: ${got.length} of ${n}, ${JSON.stringify(client.state)}`);
      assert.deepEqual(got, Array.from({ length: n }, (_, index) => index + 1));
    } finally {
      client.close();
      await net.close();
      await server.kill();
    }
  });

  test(`${transports}: the wall clock is set back by an hour while the line dies, and it is noticed all the same`, { timeout: 60_000 }, async (t) => {
    const server = await gateway({ args: ["--heartbeat-seconds", "1"] });
    const net = await proxy(server.port);
    const client = connect(net.url, { ...QUICK, transports, pingInterval: 300, timeout: 500 });
    const real = Date.now;
    try {
      await connected(client);
      t.mock.method(Date, "now", () => real() - 3_600_000);
      const noticed = new Promise((resolve) => client.on("state", ({ phase }) => phase === "reconnecting" && resolve()));
      net.set({ kind: "hole" });
      const timer = setTimeout(() => assert.fail("not noticed within 15 s"), 15_000);
      await noticed;
      clearTimeout(timer);
    } finally {
      t.mock.restoreAll();
      client.close();
      await net.close();
      await server.kill();
    }
  });
}

test("over SSE a refused target is told by name, once, and the others are received", { timeout: 60_000 }, async () => {
  const server = await gateway();
  const client = connect(server.url, { ...QUICK, transports: ["sse"], targets: ["room:a", "adw:no"] });
  const refused = [];
  const got = [];
  client.on("refused", ({ to, code }) => refused.push(`${to} ${code}`));
  client.on("*", ({ data }) => got.push(data.n));
  try {
    await connected(client);
    await until(() => refused.length, "refused");
    await publish(server.url, "room:a", { n: 1 });
    await until(() => got.length, "the other target");
    assert.deepEqual([refused, client.targets], [["adw:no invalid_id"], ["room:a"]]);
    await assert.rejects(client.subscribe("adw:no2"), (error) => error.message.startsWith("adw:no2: ") && error.code === "invalid_id");
  } finally {
    client.close();
    await server.kill();
  }
});

test("targets of the options begin where they say, over either transport", { timeout: 60_000 }, async () => {
  const server = await gateway();
  try {
    for (let n = 1; n <= 3; n += 1) await publish(server.url, "room:a", { n });
    for (const transports of [["websocket"], ["sse"]]) {
      const client = connect(server.url, { ...QUICK, transports, targets: [{ to: "room:a", since: 0 }, "room:b"] });
      const got = [];
      client.on("*", ({ data }) => got.push(data.n));
      await until(() => got.length === 3, "what is kept");
      await publish(server.url, "room:b", { n: 4 });
      await until(() => got.length === 4, "what is new");
      assert.deepEqual(got, [1, 2, 3, 4]);
      client.close();
    }
  } finally {
    await server.kill();
  }
});

test("a client without a way to open WebSockets falls back and says so", { timeout: 60_000 }, async () => {
  const server = await gateway();
  class Blocked extends WebSocket {
    constructor(url, protocols) {
      super(url.replace("/v1/ws", "/blocked"), protocols);
    }
  }
  const client = connect(server.url, { ...QUICK, WebSocket: Blocked });
  try {
    await connected(client);
    assert.equal(client.state.transport, "sse");
    assert.match(client.state.fallback.reason, /^no WebSocket: ./);
    client.close();
    await server.kill();
    const gone = connect(server.url, { ...QUICK, transports: ["sse"] });
    const state = await until(() => gone.state.phase === "reconnecting" && gone.state, "not there");
    assert.equal(state.reason, "no SSE: ECONNREFUSED");
    gone.close();
  } finally {
    client.close();
    await server.kill().catch(() => {});
  }
});
