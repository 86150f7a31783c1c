// Time, silence, sleep, and the reasons that a state names: with sockets and streams that do what the test says, and clocks that it moves.

import assert from "node:assert/strict";
import { test } from "node:test";

import { createClient } from "../../dist/index.js";
import { clocks } from "../support/clock.mjs";

const settle = async () => {
  for (let turn = 0; turn < 30; turn += 1) await null;
};
const frame = (type, data, more) => JSON.stringify({ type, time: "2026-11-21T00:00:00Z", to: "connection:c", data, ...more });
const WELCOME = { epoch: "0123456789abcdef", server_time: "2026-11-21T00:00:00Z", heartbeat_interval_ms: 30_000 };

/** A client, with what it opens: `sockets` and `streams`. What `answers` is false for stays without an answer. */
function world(options = {}) {
  const sockets = [];
  const streams = [];
  const phases = [];
  const server = { answers: true };
  class Socket {
    sent = [];
    constructor(url, protocols) {
      Object.assign(this, { url, protocols });
      sockets.push(this);
    }
    say(type, data, more) {
      this.onmessage({ data: frame(type, data, more) });
    }
    welcome(more) {
      this.onopen?.();
      this.say("connection.welcome", { ...WELCOME, ...more });
    }
    send(text) {
      const { type, id, data } = JSON.parse(text);
      this.sent.push({ type, id, targets: data?.streams?.map(({ to }) => to) });
      if (!server.answers) return;
      if (type === "subscribe") this.say("connection.subscribed", { re: id, epoch: WELCOME.epoch, streams: data.streams.map(({ to }) => ({ to, head: 0 })), refused: [] });
      if (type === "unsubscribe") this.say("connection.unsubscribed", { re: id, streams: data.streams });
      if (type === "ping") this.say("connection.pong", { re: id, server_time: WELCOME.server_time });
    }
    close() {}
    pings() {
      return this.sent.filter(({ type }) => type === "ping").length;
    }
  }
  const fetch = (url, { headers, signal }) =>
    new Promise((resolve, reject) => {
      let controller;
      const body = new ReadableStream({ start: (given) => (controller = given) });
      const stream = {
        url,
        headers,
        say: (text) => controller.enqueue(new TextEncoder().encode(text)),
        open: (text) => {
          resolve(new Response(body, { headers: { "content-type": "text/event-stream" } }));
          if (text) stream.say(text);
        },
        welcome: () => stream.open(`retry: 2000\nid: 0123456789abcdef-0\ndata: ${frame("connection.welcome", WELCOME)}\n\ndata: ${frame("connection.subscribed", { epoch: WELCOME.epoch, streams: [], refused: [] })}\n\n`),
        answer: (status, text) => resolve(new Response(text, { status })),
        fail: reject,
        break: (error) => controller.error(error),
        aborted: () => signal.aborted,
      };
      streams.push(stream);
    });
  const client = createClient("https://example.org", { WebSocket: Socket, fetch, backoff: { minDelay: 1e7, maxDelay: 1e7 }, ...options });
  client.on("state", (state) => phases.push(state.phase));
  return { client, sockets, streams, phases, server };
}

/** Runs a test with clocks and a page that is visible. */
const timed = (name, run) =>
  test(name, async () => {
    const time = clocks();
    globalThis.document = { hidden: false };
    try {
      await run(time);
    } finally {
      delete globalThis.document;
      time.restore();
    }
  });

async function connected(made) {
  made.client.start();
  await settle();
  (made.sockets[0] ?? made.streams[0]).welcome();
  for (let turn = 0; turn < 5; turn += 1) await settle();
  assert.equal(made.client.state.phase, "connected");
  return made;
}

for (const step of [-3_600_000, 3_600_000]) {
  timed(`the wall clock is set by ${step / 1000} s: a healthy connection stays, and latency stays sane`, async (time) => {
    const { client, sockets, phases } = await connected(world({ transports: ["websocket"] }));
    await time.tick(5_000);
    time.set(step);
    await time.tick(60_000);
    assert.deepEqual(phases, ["connecting", "connected"]);
    assert.ok(sockets[0].pings() >= 3 && client.latency >= 0 && client.latency < 1000, `${sockets[0].pings()} pings, ${client.latency} ms`);
    client.close();
  });

  timed(`the wall clock is set by ${step / 1000} s while the connection dies: it is noticed as soon as ever`, async (time) => {
    const { client, server } = await connected(world({ transports: ["websocket"] }));
    await time.tick(5_000);
    server.answers = false;
    time.set(step);
    await time.tick(31_000);
    assert.equal(client.state.phase, "reconnecting");
    assert.deepEqual([client.state.code, client.state.reason], [1006, "nothing arrives on the open connection"]);
    client.close();
  });
}

for (const goesOn of [true, false]) {
  const how = goesOn ? "goes on in sleep" : "stops in sleep";
  timed(`a machine that slept asks at once, where elapsed time ${how}: a connection that answers stays`, async (time) => {
    const { client, sockets, phases, server } = await connected(world({ transports: ["websocket"] }));
    // Also where a ping was under way when it fell asleep.
    server.answers = false;
    await time.tick(16_000);
    const asked = sockets[0].pings();
    time.sleep(3_600_000, goesOn);
    server.answers = true;
    await time.tick(4_000);
    assert.equal(sockets[0].pings(), asked + 1);
    await time.tick(30_000);
    assert.deepEqual(phases, ["connecting", "connected"]);
    client.close();
  });

  timed(`a machine that slept gives up a dead connection within the timeout, where elapsed time ${how}`, async (time) => {
    const { client, server } = await connected(world({ transports: ["websocket"] }));
    await time.tick(1_000);
    server.answers = false;
    time.sleep(3_600_000, goesOn);
    await time.tick(15_000);
    assert.equal(client.state.phase, "reconnecting");
    client.close();
  });

  timed(`a machine that slept opens its stream anew, where elapsed time ${how}, and stays connected`, async (time) => {
    const { client, streams, phases } = await connected(world({ transports: ["sse"] }));
    await time.tick(1_000);
    time.sleep(3_600_000, goesOn);
    await time.tick(4_000);
    assert.deepEqual([streams.length, streams[0].aborted()], [2, true]);
    streams[1].welcome();
    await time.tick(1_000);
    assert.ok(!phases.includes("reconnecting"));
    client.close();
  });
}

timed("a page that is shown again, or a network that is back, asks at once; a stream that was heard lately is left alone when the page is shown", async (time) => {
  const socket = await connected(world({ transports: ["websocket"] }));
  const stream = await connected(world({ transports: ["sse"] }));
  await time.tick(2_000);
  const pings = socket.sockets[0].pings();
  // Node has no events of a page: a test calls what was registered.
  globalThis.dispatchEvent?.(new Event("visibilitychange"));
  socket.client.close();
  stream.client.close();
  const registered = {};
  const add = globalThis.addEventListener;
  globalThis.addEventListener = (name, handler) => (registered[name] = handler);
  try {
    const { client, sockets } = await connected(world({ transports: ["websocket"] }));
    await time.tick(2_000);
    for (const [index, type] of ["visibilitychange", "online"].entries()) {
      registered[type]({ type });
      await settle();
      assert.equal(sockets[0].pings(), index + 2, type);
    }
    client.close();
    const other = await connected(world({ transports: ["sse"] }));
    await time.tick(20_000);
    other.streams[0].say(":keep-alive\n");
    await time.tick(8_000);
    registered.visibilitychange({ type: "visibilitychange" });
    assert.equal(other.streams.length, 1);
    registered.online({ type: "online" });
    await settle();
    assert.equal(other.streams.length, 2);
    other.client.close();
  } finally {
    globalThis.addEventListener = add;
  }
  assert.ok(pings > 0);
});

timed("a stream that is held back is noticed within the heartbeat deadline that the server named; comments are signs of life", async (time) => {
  const { client, streams } = await connected(world({ transports: ["sse"] }));
  for (let comment = 0; comment < 8; comment += 1) {
    await time.tick(15_000);
    streams[0].say(":keep-alive\n");
    await settle();
  }
  assert.equal(client.state.phase, "connected");
  await time.tick(39_000);
  assert.equal(client.state.phase, "connected");
  await time.tick(5_000);
  assert.deepEqual([client.state.phase, client.state.reason], ["reconnecting", "nothing arrives on the open connection"]);
  client.close();
});

timed("a hidden page, which does not ping, notices a dead socket within the same deadline", async (time) => {
  const { client } = await connected(world({ transports: ["websocket"] }));
  globalThis.document.hidden = true;
  await time.tick(39_000);
  assert.equal(client.state.phase, "connected");
  await time.tick(6_000);
  assert.equal(client.state.phase, "reconnecting");
  client.close();
});

timed("an open connection without a welcome has a reason of its own; one that never opened has another", async (time) => {
  for (const [transports, open, reason] of [
    [["sse"], true, "nothing arrives on the open connection"],
    [["websocket"], true, "nothing arrives on the open connection"],
    [["sse"], false, "no answer"],
    [["websocket"], false, "no answer"],
  ]) {
    const made = world({ transports });
    made.client.start();
    await settle();
    if (open) (made.streams[0] ?? { open: made.sockets[0]?.onopen }).open();
    await time.tick(10_000);
    assert.deepEqual([made.client.state.phase, made.client.state.code, made.client.state.reason], ["reconnecting", 1006, reason], `${transports} ${open}`);
    made.client.close();
  }
});

timed("the state names causes: of a stream, a socket, a token, an answer that is no stream, and an end without a word", async () => {
  const failed = (code) => Object.assign(new TypeError("fetch failed"), { cause: { code } });
  const cases = [
    [["sse"], {}, ({ streams }) => streams[0].fail(failed("ECONNREFUSED")), "no SSE: ECONNREFUSED"],
    [["sse"], {}, ({ streams }) => streams[0].fail(new TypeError("Failed to fetch")), "no SSE: refused or unreachable"],
    [["sse"], {}, ({ streams }) => streams[0].answer(502, "<html>Bad gateway"), "HTTP 502"],
    [["sse"], {}, ({ streams }) => streams[0].answer(503, JSON.stringify({ error: { code: "unavailable", message: "full" } })), "full"],
    [["websocket"], {}, ({ sockets }) => sockets[0].onerror({}), "no WebSocket: refused or unreachable"],
    [["websocket"], {}, ({ sockets }) => sockets[0].onerror({ message: "Unexpected server response: 426" }), "no WebSocket: Unexpected server response: 426"],
    [["websocket"], {}, ({ sockets }) => sockets[0].onclose({ code: 1006, reason: "" }), "connection lost"],
    [["websocket"], { WebSocket: null }, () => {}, "no WebSocket here"],
    [["websocket"], { token: () => Promise.reject(new Error("signed out")) }, () => {}, "no token: signed out"],
    [["websocket"], { ticket: () => Promise.reject(new TypeError("Failed to fetch")) }, () => {}, "no ticket: Failed to fetch"],
  ];
  for (const [transports, options, happens, reason] of cases) {
    const made = world({ transports, ...options });
    made.client.start();
    await settle();
    happens(made);
    for (let turn = 0; turn < 20; turn += 1) await settle();
    assert.deepEqual([made.client.state.phase, made.client.state.reason], ["reconnecting", reason]);
    made.client.close();
  }
  const offline = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", { value: { onLine: false }, configurable: true });
  try {
    const { client, streams } = world({ transports: ["sse"] });
    client.start();
    await settle();
    streams[0].fail(new TypeError("Failed to fetch"));
    await settle();
    assert.equal(client.state.reason, "no SSE: offline");
    client.close();
  } finally {
    if (offline) Object.defineProperty(globalThis, "navigator", offline);
    else delete globalThis.navigator;
  }
});

timed("a client that falls back says why the preferred transport is not there", async () => {
  const { client, sockets, streams } = world();
  client.start();
  await settle();
  sockets[0].onerror({ message: "Unexpected server response: 401" });
  await settle();
  streams[0].welcome();
  for (let turn = 0; turn < 10; turn += 1) await settle();
  assert.deepEqual([client.state.transport, client.state.fallback], ["sse", { code: 1006, reason: "no WebSocket: Unexpected server response: 401" }]);
  // The socket comes after all.
  client.switchTo("websocket");
  await settle();
  sockets[1].welcome();
  assert.deepEqual([client.state.transport, "fallback" in client.state], ["websocket", false]);
  client.close();
});

timed("a server that ends a stream says so in its last event: the reason, and when to return", async (time) => {
  const { client, streams } = await connected(world({ transports: ["sse"], backoff: {} }));
  streams[0].say(`retry: 1800\ndata: ${frame("connection.closing", { reason: "restart", code: 1012, reconnect_after_ms: 1800 })}\n\n`);
  await settle();
  streams[0].break(new TypeError("terminated"));
  for (let turn = 0; turn < 10; turn += 1) await settle();
  const { phase, code, retryAt } = client.state;
  assert.deepEqual([phase, code, retryAt - Date.now()], ["reconnecting", 1012, 1800]);
  // A full server answers 200 and ends the stream with its first event: it is tried again when the server says.
  await time.tick(1800);
  streams[1].open(`retry: 5000\nid: x\ndata: ${frame("connection.closing", { reason: "full", code: 1013, reconnect_after_ms: 5000 })}\n\n`);
  for (let turn = 0; turn < 10; turn += 1) await settle();
  streams[1].break(new TypeError("terminated"));
  for (let turn = 0; turn < 10; turn += 1) await settle();
  assert.deepEqual([client.state.phase, client.state.code, client.state.retryAt - Date.now()], ["reconnecting", 1013, 5000]);
  client.close();
});

test("a token loses its line end before it is shown, over either transport", async () => {
  const { client, sockets, streams } = world({ token: "a.b\r\n" });
  client.start();
  await settle();
  assert.deepEqual(sockets[0].protocols, ["eventwire.v1", "eventwire.token.YS5i"]);
  sockets[0].onerror({});
  await settle();
  assert.equal(streams[0].headers.authorization, "Bearer a.b");
  client.close();
  const buyer = world({ ticket: () => "t1\n" });
  buyer.client.start();
  await settle();
  assert.match(buyer.sockets[0].url, /ticket=t1$/);
  buyer.client.close();
});

timed("a hundred rows that come and go, at once or one by one, stay within the limits of the connection, and every call is answered", async (time) => {
  const limits = { commands_per_second: 32, command_burst: 64, targets_per_second: 256, target_burst: 1024 };
  const { client, sockets } = world({ transports: ["websocket"] });
  client.start();
  await settle();
  sockets[0].welcome({ limits });
  await settle();
  const rows = Array.from({ length: 100 }, (_, index) => `room:row-${index}`);
  const before = sockets[0].sent.length;
  await Promise.all(rows.map((to) => client.subscribe(to)));
  await Promise.all(rows.map((to) => client.unsubscribe(to)));
  assert.deepEqual(sockets[0].sent.slice(before).map(({ type, targets }) => [type, targets.length]), [["subscribe", 100], ["unsubscribe", 100]]);
  // One by one, as a list that is scrolled mounts and unmounts them.
  await time.tick(2_000);
  const begin = sockets[0].sent.length;
  const calls = [];
  for (const [index, to] of rows.entries()) {
    calls.push(client.subscribe(to));
    if (index >= 10) calls.push(client.unsubscribe(rows[index - 10]));
    await time.tick(5);
  }
  // The queue of the application is not used up by them.
  calls.push(client.send("ping"));
  await time.tick(2_000);
  await Promise.all(calls);
  const sent = sockets[0].sent.slice(begin);
  assert.ok(sent.length < 64, `${sent.length} commands`);
  assert.deepEqual(client.targets, rows.slice(-10));
  client.close();
});
