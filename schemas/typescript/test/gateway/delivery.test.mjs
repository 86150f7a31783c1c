// The client against a real gateway: nothing lost, nothing twice, order kept, and a gap told where history is gone. The oracle
// is what was acknowledged to a publisher in another process. Needs target/debug/eventwire. Node 20 wants --experimental-websocket.

import assert from "node:assert/strict";
import { test } from "node:test";

import { connect } from "../../dist/index.js";
import { connected } from "../../dist/iterate.js";
import { check, complete, publisher, recorder } from "../support/oracle.mjs";
import { gateway, publish, until } from "../support/gateway.mjs";
import { proxy } from "../support/proxy.mjs";

const TARGETS = ["adw:aaaaaaaa", "room:tasks", "session:shop", "global"];
const QUICK = { backoff: { minDelay: 20, maxDelay: 100 }, upgradeDelay: 60_000 };

/** Runs `disturb` while numbered events are published, then checks that the client got exactly what was acknowledged. */
async function undisturbed({ options = {}, args = [], pause = 1, through = false }, disturb) {
  const server = await gateway({ args });
  const net = through ? await proxy(server.port) : undefined;
  const client = connect(net?.url ?? server.url, { targets: TARGETS, ...QUICK, ...options });
  const { got, gaps } = recorder(client);
  let numbers;
  try {
    await connected(client);
    await client.subscribe(TARGETS);
    numbers = publisher(server.url, TARGETS, pause);
    await until(() => numbers.said.get(TARGETS[0]).length > 3, "the publisher begins");
    await disturb({ client, net, server, got });
    const said = await numbers.stop();
    net?.set({ kind: "pass" });
    await until(() => complete(said, got), () => `everything that was acknowledged (${JSON.stringify(client.state)})`);
    const count = check(said, got);
    assert.deepEqual(gaps, []);
    return count;
  } finally {
    client.close();
    await numbers?.stop();
    await net?.close();
    await server.kill();
  }
}

/** Waits until the client has lost its connection, however soon it has another. Ask before the connection is disturbed. */
const lost = (client, what) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not within 20 s: ${what}: ${JSON.stringify(client.state)}`)), 20_000);
    const off = client.on("state", (state) => {
      if (state.phase === "connected") return;
      clearTimeout(timer);
      off();
      resolve(state);
    });
  });

/** Waits until the client was welcomed once more. */
const welcomed = (client) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no welcome within 15 s: ${JSON.stringify(client.state)}`)), 15_000);
    const off = client.on("state", ({ phase }) => {
      if (phase !== "connected") return;
      clearTimeout(timer);
      off();
      resolve();
    });
  });

test("1,000 switches between WebSocket and SSE in the middle of a stream lose nothing and repeat nothing", { timeout: 120_000 }, async (t) => {
  // As many as fit into the time that a slow machine may take; all of them otherwise.
  const wanted = Number(process.env.SWITCHES ?? 1000);
  const bound = Date.now() + 90_000;
  let switches = 0;
  const count = await undisturbed({ pause: 2 }, async ({ client }) => {
    while (switches < wanted && Date.now() < bound) {
      const to = client.state.transport === "sse" ? "websocket" : "sse";
      const there = welcomed(client);
      client.switchTo(to);
      await there;
      assert.equal(client.state.transport, to);
      switches += 1;
      // Now and then long enough for live events between two switches.
      if (switches % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    }
  });
  t.diagnostic(`${switches} switches, ${count} acknowledged events`);
  console.log(`${switches} of ${wanted} switches, ${count} acknowledged events received once and in order`);
  assert.ok(switches >= Math.min(wanted, 200), `only ${switches} switches`);
});

for (const transports of [["websocket"], ["sse"], ["websocket", "sse"]]) {
  const name = transports.join(" and ");
  test(`${name}: connections cut in the middle`, { timeout: 60_000 }, async () => {
    await undisturbed({ options: { transports }, through: true }, async ({ client, net }) => {
      for (let cut = 0; cut < 30; cut += 1) {
        await until(() => client.state.phase === "connected", "connected");
        await new Promise((resolve) => setTimeout(resolve, cut % 7));
        const back = welcomed(client);
        net.cut();
        await back;
      }
    });
  });

  test(`${name}: connections cut after any number of bytes`, { timeout: 60_000 }, async () => {
    await undisturbed({ options: { transports }, through: true }, async ({ client, net }) => {
      // From within the handshake to some way into the frames.
      for (const after of [1, 40, 129, 200, 333, 500, 777, 1000, 1400, 1555, 2000, 2718, 4000, 8192]) {
        const cut = lost(client, "cut");
        net.set({ kind: "cut after", after });
        net.cut();
        await cut;
        await new Promise((resolve) => setTimeout(resolve, 60));
        net.set({ kind: "pass" });
        await until(() => client.state.phase === "connected", "connected again");
      }
    });
  });

  test(`${name}: everything is late, then cut`, { timeout: 60_000 }, async () => {
    await undisturbed({ options: { transports }, through: true }, async ({ client, net }) => {
      net.set({ kind: "delay", ms: 40 });
      for (let cut = 0; cut < 5; cut += 1) {
        await until(() => client.state.phase === "connected", "connected");
        await new Promise((resolve) => setTimeout(resolve, 120));
        const back = welcomed(client);
        net.cut();
        await back;
      }
    });
  });

  for (const how of ["hole", "half open"]) {
    test(`${name}: the network is silent without a word (${how})`, { timeout: 60_000 }, async () => {
      // Silence is noticed by the client alone: with short times, not by waiting for the usual ones.
      await undisturbed({ args: ["--heartbeat-seconds", "1"], options: { transports, pingInterval: 300, timeout: 500 }, through: true, pause: 20 }, async ({ client, net }) => {
        const back = welcomed(client);
        const noticed = lost(client, "the silence is noticed");
        if (how === "hole") net.set({ kind: "hole" });
        else net.halfOpen();
        assert.match((await noticed).reason ?? "", /^(nothing arrives on the open connection)?$/);
        net.set({ kind: "pass" });
        net.cut();
        await back;
      });
    });
  }
}

test("a server that stops tells its clients when to return, and they find everything", { timeout: 60_000 }, async () => {
  let server = await gateway({ args: ["--drain-seconds", "1"] });
  const client = connect(server.url, { targets: ["room:tasks"], ...QUICK });
  try {
    await connected(client);
    const closing = new Promise((resolve) => client.on("connection.closing", resolve));
    const waiting = new Promise((resolve) => client.on("state", (state) => state.phase === "reconnecting" && resolve({ state, now: Date.now() })));
    const stopped = server.stop();
    const { data } = await closing;
    assert.equal(typeof data.reconnect_after_ms, "number");
    const { state, now } = await waiting;
    assert.equal(state.code, 1012);
    assert.ok(Math.abs(state.retryAt - now - data.reconnect_after_ms) < 50, "the wait is the one that the server chose");
    await stopped;
    server = await gateway({ port: server.port });
    await until(() => client.state.phase === "connected", "connected again");
  } finally {
    client.close();
    await server.kill();
  }
});

for (const transports of [["websocket"], ["sse"]]) {
  test(`${transports}: a server that is killed and started again has another history, and everything new arrives`, { timeout: 60_000 }, async () => {
    let server = await gateway();
    const { port } = server;
    const client = connect(server.url, { targets: TARGETS, transports, ...QUICK });
    try {
      const { got, gaps } = recorder(client);
      await connected(client);
      await client.subscribe(TARGETS);
      for (const to of TARGETS) for (let n = 1; n <= 3; n += 1) await publish(server.url, to, { n });
      await until(() => TARGETS.every((to) => got.get(to)?.length === 3), "the first events");
      const { epoch } = client.checkpoint();
      await server.kill();
      await until(() => client.state.phase === "reconnecting", "noticed");
      server = await gateway({ port });
      // Before the client is back, and after.
      const numbers = publisher(server.url, TARGETS, 1);
      await until(() => client.state.phase === "connected", "connected again");
      await new Promise((resolve) => setTimeout(resolve, 200));
      const said = await numbers.stop();
      const later = new Map([...got].map(([to]) => [to, []]));
      await until(() => {
        for (const [to, all] of got) later.set(to, all.slice(3));
        return complete(said, later);
      }, "everything of the new history");
      check(said, later);
      assert.notEqual(client.checkpoint().epoch, epoch);
      assert.deepEqual(gaps.map(({ stream, reason }) => `${stream} ${reason}`).sort(), TARGETS.map((to) => `${to} epoch_changed`).sort());
    } finally {
      client.close();
      await server.kill();
    }
  });

  test(`${transports}: what the history no longer holds is told as a gap, once, and the rest arrives`, { timeout: 60_000 }, async () => {
    const server = await gateway({ args: ["--history-adw-events", "20"] });
    const net = await proxy(server.port);
    const client = connect(net.url, { targets: ["adw:aaaaaaaa"], transports, ...QUICK });
    try {
      const { got, gaps } = recorder(client);
      await connected(client);
      await client.subscribe("adw:aaaaaaaa");
      const receipts = [];
      for (let n = 1; n <= 5; n += 1) receipts.push(await publish(server.url, "adw:aaaaaaaa", { n }));
      await until(() => got.get("adw:aaaaaaaa")?.length === 5, "the first events");
      net.set({ kind: "refuse" });
      net.cut();
      for (let n = 6; n <= 105; n += 1) receipts.push(await publish(server.url, "adw:aaaaaaaa", { n }));
      net.set({ kind: "pass" });
      await until(() => got.get("adw:aaaaaaaa").at(-1).n === 105, "the newest");
      const numbers = got.get("adw:aaaaaaaa").map(({ n }) => n);
      assert.deepEqual(numbers, [1, 2, 3, 4, 5, ...Array.from({ length: 20 }, (_, index) => 86 + index)]);
      assert.equal(gaps.length, 1, JSON.stringify(gaps));
      const [gap] = gaps;
      assert.deepEqual([gap.stream, gap.reason], ["adw:aaaaaaaa", "expired"]);
      // It names exactly what is missing.
      assert.ok(gap.from_seq <= receipts[5].seq && gap.from_seq > receipts[4].seq, "from");
      assert.ok(gap.to_seq >= receipts[84].seq && gap.to_seq < receipts[85].seq, "to");
    } finally {
      client.close();
      await net.close();
      await server.kill();
    }
  });
}

test("a checkpoint goes on in another client, over either transport, as JSON", { timeout: 60_000 }, async () => {
  const server = await gateway();
  try {
    let kept;
    const all = [];
    let n = 0;
    for (const transports of [["websocket"], ["sse"], ["sse"], ["websocket"]]) {
      const client = connect(server.url, { transports, ...QUICK, ...(kept ? { resume: JSON.parse(kept) } : { targets: ["room:tasks"] }) });
      client.on("*", ({ data }) => all.push(data.n));
      await connected(client);
      if (!kept) await client.subscribe("room:tasks");
      for (let more = 0; more < 3; more += 1) await publish(server.url, "room:tasks", { n: ++n });
      await until(() => all.length === n, "three more");
      kept = JSON.stringify(client.checkpoint());
      client.close();
      // While nobody listens.
      await publish(server.url, "room:tasks", { n: ++n });
    }
    assert.deepEqual(all, Array.from({ length: n - 1 }, (_, index) => index + 1));
  } finally {
    await server.kill();
  }
});
