// AMIGA: the code of its description, unmodified, and its client library, against a gateway.
//
// Usage: node amiga.mjs http://127.0.0.1:PORT

import assert from "node:assert/strict";
import { EventSource } from "eventsource";
import { io as connect } from "socket.io-client";
import { fenced, run, seed, until } from "./seeds.mjs";

const base = process.argv[2];
const text = seed("002");
const open = [];

// `io` as a page has it: without an address it means where the page is from.
function io(url, options) {
  const socket = connect(url ?? base, { ...options, forceNew: true });
  const told = [];
  socket.onAny((name, argument) => told.push([name, argument]));
  socket.told = told;
  socket.of = (name) => told.filter((event) => event[0] === name).map((event) => event[1]);
  open.push(socket);
  return socket;
}

// `EventSource` of a page of the gateway.
class Source extends EventSource {
  constructor(path) {
    super(new URL(path, base));
    open.push(this);
  }
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const connected = (socket) => until("connected", () => socket.connected && socket.of("connected")[0]);

// Runs code of the description with these names in its scope.
function play(code, scope) {
  const here = code.replaceAll("http://localhost:3000", base);
  return new Function(...Object.keys(scope), here)(...Object.values(scope));
}

// Events of tasks reach whoever follows them, so they are published as a back end would.
async function publish(events) {
  const body = JSON.stringify(events);
  const answer = await fetch(`${base}/v1/events`, { method: "POST", headers: { "content-type": "application/json" }, body });
  assert.equal(answer.status, 202, await answer.clone().text());
}

function assertUpdate(update) {
  assert.deepEqual(Object.keys(update), ["overview", "sessions", "activity", "timestamp"]);
  const { tasks, costs, claude_api: api, tools } = update.overview;
  for (const number of [tasks.total, tasks.running, tasks.completed, tasks.failed]) assert.ok(Number.isInteger(number));
  for (const number of [costs.total_cost, costs.haiku_cost, costs.sonnet_cost]) assert.equal(typeof number, "number");
  for (const number of [api.total_requests, api.total_input_tokens, api.total_output_tokens]) assert.ok(Number.isInteger(number));
  assert.equal(tools.total_calls, Object.values(tools.by_type).reduce((sum, count) => sum + count, 0));
  assert.ok(update.sessions.total_sessions > 0 && update.sessions.total_tools > 0);
  assert.ok(update.activity.every((entry) => entry.description && typeof entry.timestamp === "number"));
  assert.ok(Math.abs(update.timestamp - Date.now() / 1000) < 60);
}

const described = !text ? [] : [
  ["the client of the description connects, subscribes, refreshes, sets its interval and unsubscribes", async () => {
    const said = [];
    const console = { log: (...words) => said.push(words.join(" ")), error: (...words) => said.push(words.join(" ")) };
    const made = fenced(text, "const socket = io('http://localhost:3000'");
    const socket = play(
      [
        made,
        fenced(text, "console.log('Connected to server');"),
        fenced(text, "// Server confirms connection"),
        "return socket;",
      ].join("\n"),
      { io, console },
    );
    const { status, client_id } = await connected(socket);
    assert.deepEqual([status, client_id], ["connected", socket.id]);
    assert.deepEqual(said, ["Connected to server"]);
    play(fenced(text, "hours: 24,              // Time range for metrics"), { socket });
    const update = await until("an update", () => socket.of("metrics_update")[0]);
    assert.deepEqual(socket.of("subscribed"), [
      { status: "subscribed", config: { hours: 24, update_interval: 2, subscribed: true } },
    ]);
    assertUpdate(update);
    await pause(5_000);
    assert.equal(socket.of("metrics_update").length, 1, "nothing has changed");
    play(fenced(text, "hours: 24  // Optional: override time range"), { socket });
    await until("a refresh", () => socket.of("metrics_update").length === 2);
    play(fenced(text, "interval: 5  // New interval in seconds"), { socket });
    assert.deepEqual(await until("an interval", () => socket.of("interval_updated")[0]), { interval: 5 });
    play(fenced(text, "socket.emit('unsubscribe');"), { socket });
    assert.deepEqual(await until("an end", () => socket.of("unsubscribed")[0]), { status: "unsubscribed" });
    assert.deepEqual(socket.of("error"), []);
  }],
  ["the stream and the socket of the description's migration tell the same figures", async () => {
    const updates = { before: [], after: [] };
    const block = (mark) => {
      const code = fenced(text, mark);
      return (name, updateUI) => play(code, { [name]: name === "io" ? io : Source, updateUI });
    };
    block("new EventSource('/api/stream/metrics')")("EventSource", (update) => updates.before.push(update));
    block("const socket = io();")("io", (update) => updates.after.push(update));
    const [before, after] = await until("both", () => updates.before[0] && updates.after[0] && [updates.before[0], updates.after[0]]);
    assertUpdate(before);
    assertUpdate(after);
    assert.deepEqual({ ...before, timestamp: 0 }, { ...after, timestamp: 0 });
  }],
  ["the best practices of the description: subscribed again after a reconnection, and one refresh for many wishes", async () => {
    const socket = io(base, { reconnectionDelay: 50 });
    const lastConfig = { hours: 3, update_interval: 1 };
    play(fenced(text, "// Update UI to show disconnected state"), { socket });
    play(fenced(text, "// Re-subscribe if needed"), { socket, wasSubscribed: true, lastConfig });
    await until("an update", () => socket.of("metrics_update")[0]);
    const first = socket.id;
    socket.io.engine.close();
    await until("the connection anew", () => socket.connected && socket.id !== first);
    await until("an update anew", () => socket.of("metrics_update").length === 2);
    assert.equal(socket.of("connected")[1].client_id, socket.id);
    assert.deepEqual(socket.of("subscribed").map(({ config }) => config.hours), [3, 3]);
    const refresh = play(`${fenced(text, "let refreshTimeout;")}\nreturn requestRefresh;`, { socket });
    for (let count = 0; count < 5; count += 1) refresh();
    await pause(1_500);
    assert.equal(socket.of("metrics_update").length, 3);
  }],
];

const checks = [
  ...described,
  ...[["websocket"], ["polling"], ["polling", "websocket"], ["websocket", "polling"]].map((transports) => [
    `over ${transports.join(", then ")} a client is confirmed, answered in order, acknowledged and cut to its range`,
    async () => {
      const socket = io(base, { transports });
      assert.equal((await connected(socket)).client_id, socket.id);
      if (transports.length > 1) await until("the upgrade", () => socket.io.engine.transport.name === "websocket");
      socket.emit("subscribe", { hours: 1_000, update_interval: 0 });
      socket.emit("set_interval", { interval: 99 });
      socket.emit("ping");
      await socket.timeout(5_000).emitWithAck("unsubscribe");
      await until("the answers", () => socket.of("unsubscribed")[0]);
      const names = socket.told.map(([name]) => name).filter((name) => name !== "metrics_update");
      assert.deepEqual(names, ["connected", "subscribed", "interval_updated", "pong", "unsubscribed"]);
      assert.deepEqual(socket.of("subscribed")[0].config, { hours: 168, update_interval: 1, subscribed: true });
      assert.deepEqual(socket.of("interval_updated")[0], { interval: 60 });
    },
  ]),
  ["the namespace /metrics is the same, over the same transport", async () => {
    const socket = io(`${base}/metrics`);
    assert.equal((await connected(socket)).client_id, socket.id);
    socket.emit("request_refresh", { hours: 2 });
    assertUpdate(await until("an update", () => socket.of("metrics_update")[0]));
  }],
  ["the namespace /v1 speaks the canonical protocol", async () => {
    const socket = io(`${base}/v1`);
    await until("the welcome", () => socket.of("connection.welcome")[0]);
    socket.emit("command", { type: "ping", id: "a", data: { client_time: 7 } });
    const pong = await until("a pong", () => socket.of("connection.pong")[0]);
    assert.deepEqual([pong.type, pong.data.re, pong.data.client_time], ["connection.pong", "a", 7]);
    socket.emit("subscribe", {});
    assert.equal((await until("an error", () => socket.of("connection.error")[0])).data.code, "unknown_command");
  }],
  ["another namespace is refused", async () => {
    const socket = io(`${base}/elsewhere`);
    const error = await new Promise((resolve) => socket.on("connect_error", resolve));
    assert.equal(error.message, "Invalid namespace");
  }],
  ["a client may have its updates as bytes and choose among the figures", async () => {
    const socket = io();
    await connected(socket);
    socket.emit("subscribe", { binary: true, metrics: ["overview"] });
    const bytes = await until("an update", () => socket.of("metrics_update")[0]);
    assert.ok(Buffer.isBuffer(bytes));
    const update = JSON.parse(bytes.toString());
    assert.ok(update.overview.tasks.total > 0);
    assert.deepEqual([update.sessions, update.activity], [{}, []]);
  }],
  ["who asked for nothing is told nothing, and no event joins a room or another's session", async () => {
    const [asking, other, following] = [io(), io(), io()];
    await Promise.all([asking, other, following].map(connected));
    const hostile = [
      ["join", { room: "tasks" }],
      ["join_room", { room: asking.id }],
      ["enter_room", { sid: other.id, room: asking.id }],
      ["subscribe", { hours: 1.5, room: asking.id, sid: asking.id }],
      ["session", { session_id: asking.id }],
      ["authenticate", { user_id: "somebody" }],
      ["__proto__", {}],
    ];
    for (const [name, argument] of hostile) other.emit(name, argument);
    following.emit("subscribe_tasks");
    await until("all refusals", () => other.of("error").length === hostile.length);
    asking.emit("request_refresh");
    asking.emit("message", { message: "hello" });
    await until("an update", () => asking.of("metrics_update")[0]);
    await until("no back end", () => asking.of("error")[0]);
    await publish([{ type: "task.update", to: "room:tasks", data: { task_id: "t1", status: "running" } }]);
    await until("a task", () => following.of("task_update")[0]);
    await pause(300);
    assert.deepEqual(following.told.slice(1), [["task_update", { task_id: "t1", status: "running" }]]);
    assert.ok(other.told.slice(1).every(([name]) => name === "error"), JSON.stringify(other.told));
    assert.deepEqual(asking.told.map(([name]) => name).sort(), ["connected", "error", "metrics_update"]);
  }],
  ["thousands of events come in their order on every transport", async () => {
    const sockets = [io(base, { transports: ["websocket"] }), io(base, { transports: ["polling"] }), io()];
    await Promise.all(sockets.map(connected));
    await Promise.all(sockets.map((socket) => socket.timeout(5_000).emitWithAck("subscribe_tasks")));
    // No more at once than are kept of a room: whoever misses some of what is not kept is closed.
    const count = 4_000;
    for (let start = 0; start < count; start += 500) {
      const numbers = Array.from({ length: 500 }, (_, index) => start + index);
      await publish(numbers.map((number) => ({ type: "task.update", to: "room:tasks", data: { task_id: `n${number}`, status: "running" } })));
      for (const socket of sockets) await until("these events", () => socket.of("task_update").length >= start + 500, 30_000);
    }
    const expected = Array.from({ length: count }, (_, number) => `n${number}`);
    for (const socket of sockets) {
      assert.deepEqual(socket.of("task_update").map((task) => task.task_id), expected);
    }
  }],
  ["a bad event is told to its sender alone, and the socket stays open", async () => {
    const [bad, other] = [io(), io()];
    await Promise.all([bad, other].map(connected));
    for (const argument of [{ hours: "24" }, { hours: 1.5 }, { update_interval: null, hours: [] }, 7]) bad.emit("subscribe", argument);
    const errors = await until("four errors", () => bad.of("error").length === 4 && bad.of("error"));
    assert.ok(errors.every(({ error, timestamp }) => error.length > 10 && typeof timestamp === "number"));
    await bad.timeout(5_000).emitWithAck("unsubscribe");
    assert.deepEqual(other.told.slice(1), []);
  }],
  ["the page to try the connection with, the overview, and errors of the transport", async () => {
    const page = await fetch(`${base}/websocket-test`);
    assert.equal(page.status, 200);
    assert.match(await page.text(), /WebSocket Dashboard Test/);
    const overview = await fetch(`${base}/api/metrics/overview?hours=24`);
    assert.ok((await overview.json()).tasks.total > 0);
    const bare = await fetch(`${base}/socket.io/`);
    assert.deepEqual([bare.status, await bare.json()], [400, { code: 0, message: "Transport unknown" }]);
  }],
].map(([name, check]) => [name, async () => {
  try {
    await check();
  } finally {
    for (const one of open.splice(0)) one.close();
  }
}]);

if (!text) console.log("left out: the description's own code (no shared seeds; set EVENTWIRE_SHARED)");
await run(checks);
