// What applications see of the client, with a socket that is handed in: calls, signals, queue, iterators, time.

import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";

import { connect, createClient, EventwireError } from "../../dist/index.js";
import { connected, events, quality } from "../../dist/iterate.js";
import { clocks } from "../support/clock.mjs";

const flush = async () => {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
};

/** Sockets that do what the test says. */
function line({ answers = true } = {}) {
  const sockets = [];
  class Socket {
    sent = [];
    open = true;
    constructor(url, protocols) {
      Object.assign(this, { url, protocols });
      sockets.push(this);
    }
    say(type, data = {}, more = {}) {
      this.onmessage({ data: JSON.stringify({ type, time: "2026-11-21T00:00:00Z", to: "connection:c", data, ...more }) });
    }
    welcome(more) {
      this.say("connection.welcome", { epoch: "0123456789abcdef", server_time: "2026-11-21T00:00:00Z", heartbeat_interval_ms: 30000, ...more });
    }
    event(seq, prev = seq - 1) {
      this.say("_t.n", { n: seq }, { to: "room:a", seq, prev });
    }
    send(text) {
      this.sent.push(text);
      const { type, id, data } = JSON.parse(text);
      if (!answers) return;
      if (type === "subscribe") this.say("connection.subscribed", { re: id, epoch: "0123456789abcdef", streams: data.streams.map(({ to }) => ({ to, head: 0 })), refused: [] });
      if (type === "ping") this.say("connection.pong", { re: id, server_time: "2026-11-21T00:00:00Z" });
    }
    close() {
      this.open = false;
    }
    types() {
      return this.sent.map((text) => JSON.parse(text).type);
    }
  }
  const options = { WebSocket: Socket, transports: ["websocket"] };
  return { sockets, options };
}

async function opened(more = {}, how = {}) {
  const { sockets, options } = line(how);
  const client = connect("https://example.org", { ...options, ...more });
  await flush();
  sockets.at(-1).welcome(how.welcome);
  await flush();
  return { client, sockets };
}

afterEach(() => mock.timers.reset());

test("addresses: whatever names the server leads to its socket, and a token stands in the subprotocols alone", async () => {
  for (const [url, expected] of [["https://a.example", "wss://a.example/v1/ws"], ["http://a.example:4800/", "ws://a.example:4800/v1/ws"], ["wss://a.example/v1/ws", "wss://a.example/v1/ws"], ["https://a.example/live/v1/sse", "wss://a.example/live/v1/ws"], ["https://a.example/live/", "wss://a.example/live/v1/ws"], ["https://a.example/live?x=1#y", "wss://a.example/live/v1/ws"]]) {
    const { sockets, options } = line();
    const client = connect(url, { ...options, token: "a.b~c?" });
    await flush();
    assert.equal(sockets[0].url.replace(/\?$/, ""), expected);
    assert.deepEqual(sockets[0].protocols, ["eventwire.v1", "eventwire.token.YS5ifmM_"]);
    client.close();
  }
});

test("commands wait in a bounded queue, go out once, and are never repeated by themselves", async () => {
  const { sockets, options } = line({ answers: false });
  const client = connect("https://example.org", { ...options, queueLimit: 2, backoff: { minDelay: 0, maxDelay: 0 }, pingInterval: 1e6 });
  const first = client.send("first");
  const second = client.send("second");
  await assert.rejects(client.send("third"), { name: "EventwireError", code: "queue_full" });
  await flush();
  sockets[0].welcome();
  assert.deepEqual(sockets[0].types().filter((type) => !["ping", "subscribe"].includes(type)), ["first", "second"]);
  const { id } = JSON.parse(sockets[0].sent.find((text) => text.includes("first")));
  sockets[0].say("connection.reply", { re: id, data: { done: true } });
  assert.equal((await first).data.data.done, true);
  sockets[0].onclose({ code: 1006, reason: "" });
  await assert.rejects(second, { code: "disconnected" });
  await new Promise((resolve) => setTimeout(resolve, 10));
  sockets[1].welcome();
  await flush();
  assert.ok(!sockets[1].types().includes("second"));
  client.close();
});

test("an aborted call is given up; what was not sent is not going to be; the signal of the options closes the client", async () => {
  const { sockets, options } = line();
  const all = new AbortController();
  const client = connect("https://example.org", { ...options, signal: all.signal });
  const one = new AbortController();
  const call = client.send("never", {}, { signal: one.signal });
  one.abort(new Error("enough"));
  await assert.rejects(call, /enough/);
  await assert.rejects(client.send("never", {}, { signal: one.signal }), /enough/);
  await flush();
  sockets[0].welcome();
  await flush();
  assert.ok(!sockets[0].types().includes("never"));
  const waiting = client.send("unanswered");
  await flush();
  all.abort();
  assert.equal(client.state.phase, "closed");
  assert.equal(sockets[0].open, false);
  await assert.rejects(waiting, { code: "disconnected" });
  await assert.rejects(client.subscribe("room:a"), { code: "closed" });
  client.start();
  assert.equal(client.state.phase, "closed");
});

test("a handler that throws harms nobody else, and one that is off hears nothing", async () => {
  const complaints = mock.method(console, "error", () => {});
  const { client, sockets } = await opened({ targets: ["room:a"] });
  const seen = [];
  client.on("*", () => {
    throw new Error("mine");
  });
  const off = client.on("*", ({ seq }) => seen.push(seq));
  const control = new AbortController();
  client.on("*", ({ seq }) => seen.push(-seq), { signal: control.signal });
  sockets[0].event(1);
  control.abort();
  sockets[0].event(2);
  off();
  sockets[0].event(3);
  assert.deepEqual(seen, [1, -1, 2]);
  assert.equal(complaints.mock.callCount(), 3);
  complaints.mock.restore();
  client.close();
});

test("frames that cannot be read are shown to listeners of `frame` and harm nothing", async () => {
  const { client, sockets } = await opened({ targets: ["room:a"] });
  const frames = [];
  client.on("frame", ({ text, event }) => frames.push([text, event?.type]));
  for (const text of ["not JSON", "null", "[]", '"x"', '{"type":7,"data":{}}', '{"type":"a.b"}', "{}"]) sockets[0].onmessage({ data: text });
  sockets[0].event(1);
  assert.equal(frames.length, 8);
  assert.deepEqual(frames.map(([, type]) => type), [undefined, undefined, undefined, undefined, undefined, undefined, undefined, "_t.n"]);
  assert.deepEqual(client.checkpoint().positions["room:a"], 1);
  client.close();
});

test("an iterator gives events in order, ends with the client, and says when its reader was too slow", async () => {
  const { client, sockets } = await opened({ targets: ["room:a"] });
  const slow = events(client, { buffer: 2 });
  const quick = events(client, { to: "room:a" });
  const other = events(client, { to: "room:b" });
  const typed = events(client, { types: ["adw.text_block"] });
  for (const seq of [1, 2, 3]) sockets[0].event(seq);
  assert.deepEqual([(await slow.next()).value.seq, (await slow.next()).value.seq], [1, 2]);
  await assert.rejects(slow.next(), (error) => error instanceof EventwireError && error.code === "buffer_overflow");
  assert.equal((await slow.next()).done, true);
  const got = [];
  for await (const { seq } of quick) if (got.push(seq) === 3) break;
  assert.deepEqual(got, [1, 2, 3]);
  const control = new AbortController();
  const aborted = events(client, { signal: control.signal });
  const next = aborted.next();
  control.abort(new Error("enough"));
  await assert.rejects(next, /enough/);
  const pending = other.next();
  client.close();
  assert.equal((await pending).done, true);
  assert.equal((await typed.next()).done, true);
});

test("silence ends a connection; a hidden page does not ping; latency and quality follow the pings", async () => {
  const time = clocks();
  globalThis.document = { hidden: false };
  try {
    const { client, sockets } = await opened({ pingInterval: 15_000, timeout: 9_000, backoff: { minDelay: 1e7, maxDelay: 1e7 } }, { answers: false });
    const pings = () => sockets[0].types().filter((type) => type === "ping").length;
    const pong = () => sockets[0].say("connection.pong", { re: JSON.parse(sockets[0].sent.findLast((text) => text.includes('"ping"'))).id });
    await flush();
    assert.equal(pings(), 1);
    await time.tick(400);
    pong();
    await flush();
    assert.deepEqual([client.latency, quality(client)], [400, "fair"]);
    const { state } = client;
    for (const [latency, is] of [[199, "good"], [200, "fair"], [799, "fair"], [800, "poor"]]) assert.equal(quality({ state, latency }), is);
    globalThis.document.hidden = true;
    // The heartbeats of the server are all that comes.
    for (let turn = 0; turn < 4; turn += 1) {
      await time.tick(15_000);
      if (turn % 2) sockets[0].say("connection.heartbeat", { positions: [] });
    }
    assert.deepEqual([pings(), client.state.phase], [1, "connected"]);
    globalThis.document.hidden = false;
    await time.tick(3_000);
    assert.equal(pings(), 2);
    await time.tick(3_000);
    assert.equal(quality(client), "poor");
    // Other frames are signs of life too.
    sockets[0].event(1);
    await time.tick(6_000);
    assert.equal(client.state.phase, "connected");
    await time.tick(9_000);
    assert.deepEqual([client.state.phase, quality(client), sockets[0].open], ["reconnecting", "offline", false]);
    client.close();
  } finally {
    delete globalThis.document;
    time.restore();
  }
});

test("attempts end at the maximum: the client has failed, says why, and may be started again", async () => {
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_800_000_000_000 });
  const { sockets, options } = line();
  const client = createClient("https://example.org", { ...options, backoff: { maxAttempts: 2 } });
  const phases = [];
  client.on("state", ({ phase }) => phases.push(phase));
  client.start();
  const ready = connected(client);
  ready.catch(() => {});
  for (let attempt = 0; attempt < 3; attempt += 1) {
    await flush();
    sockets.at(-1).onclose({ code: 1006, reason: "gone" });
    mock.timers.tick(60_000);
  }
  assert.deepEqual(phases, ["connecting", "reconnecting", "connecting", "reconnecting", "connecting", "failed"]);
  assert.deepEqual(client.state, { phase: "failed", code: 1006, reason: "gone" });
  await assert.rejects(ready, { code: "failed" });
  client.start();
  await flush();
  sockets.at(-1).welcome();
  assert.equal(client.state.phase, "connected");
  client.close();
});

test("a close code that says to stay away is the end; one that says when to return is heeded", async () => {
  for (const code of [1000, 1008, 4000, 4003, 4009]) {
    const { client, sockets } = await opened();
    sockets[0].onclose({ code, reason: "why" });
    assert.deepEqual(client.state, { phase: "failed", code, reason: "why" });
  }
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_800_000_000_000 });
  const { client, sockets } = await opened();
  sockets[0].say("connection.closing", { reason: "restart", reconnect_after_ms: 1800 });
  sockets[0].onclose({ code: 1012, reason: "restart" });
  assert.equal(client.state.retryAt, Date.now() + 1800);
  mock.timers.tick(1799);
  assert.equal(sockets.length, 1);
  mock.timers.tick(1);
  await flush();
  assert.equal(sockets.length, 2);
  client.close();
});

test("a frame without the members of its type is shown as unreadable, and does nothing", async () => {
  const { sockets, options } = line();
  const client = createClient("https://example.org", { ...options, targets: ["room:a"], backoff: { minDelay: 0, maxDelay: 0 } });
  const frames = [];
  const seen = [];
  const [unreadable, errors] = [() => frames.filter(({ event }) => !event).length, mock.method(console, "error", () => {})];
  client.on("frame", (frame) => frames.push(frame));
  client.on("gap", (gap) => seen.push(gap));
  client.on("*", ({ seq }) => seen.push(seq));
  client.start();
  await flush();
  const [socket] = sockets;
  for (const data of [{}, { epoch: 5 }, null]) socket.say("connection.welcome", data);
  assert.deepEqual([unreadable(), client.state.phase], [3, "connecting"]);
  socket.welcome();
  await flush();
  socket.event(1);
  const bad = [
    ["subscribed", {}], ["subscribed", { streams: [], refused: 5 }], ["subscribed", { streams: [null], refused: [] }], ["subscribed", { streams: [] }],
    ["unsubscribed", {}], ["gap", {}], ["gap", { stream: 7, reason: "expired" }], ["heartbeat", {}], ["heartbeat", { positions: [null] }], ["recovered", { stream: "room:a" }], ["recovered", { stream: "room:a", upto: "9" }],
  ];
  for (const [index, [type, data]] of bad.entries()) {
    socket.say(`connection.${type}`, data);
    assert.equal(unreadable(), 4 + index, `${type} ${JSON.stringify(data)}`);
  }
  for (const frame of ["null", "5", "[]", '{"type":5,"to":"room:a","data":{}}', '{"type":"_t.n","to":5,"seq":2,"data":{}}', '{"type":"_t.n","to":"room:a","seq":2}']) socket.onmessage({ data: frame });
  assert.equal(unreadable(), 3 + bad.length + 6);
  socket.event(2);
  assert.deepEqual([seen, client.checkpoint().positions["room:a"], client.state.phase, client.targets], [[1, 2], 2, "connected", ["room:a"]]);
  assert.equal(errors.mock.callCount(), 0);
  errors.mock.restore();
  client.close();
});
