import assert from "node:assert/strict";
import { test } from "node:test";
import { backoff, closePolicy, Link, readHistory, tokenProtocol } from "../link.js";

// A clock that only moves when told to.
class Timers {
  time = 1000;
  #due = [];
  set = (run, ms) => {
    const timer = { at: this.time + ms, run };
    this.#due.push(timer);
    return timer;
  };
  clear = (timer) => (this.#due = this.#due.filter((other) => other !== timer));
  now = () => this.time;
  advance(ms) {
    const until = this.time + ms;
    for (;;) {
      const next = this.#due.filter((timer) => timer.at <= until).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#due = this.#due.filter((timer) => timer !== next);
      this.time = next.at;
      next.run();
    }
    this.time = until;
  }
}

// Every socket the link opens, with both ends in the hands of the test.
function world(over = {}) {
  const timers = new Timers();
  const sockets = [];
  class Socket {
    sent = [];
    closed = null;
    constructor(url, protocols) {
      Object.assign(this, { url, protocols });
      sockets.push(this);
    }
    send(text) {
      this.sent.push(JSON.parse(text));
    }
    close(code) {
      this.closed = code;
    }
    say(type, data, rest = {}) {
      this.onmessage?.({ data: JSON.stringify({ type: type.includes(".") ? type : `connection.${type}`, time: "2026-11-20T10:00:00Z", to: "connection:c1", data, ...rest }) });
    }
    welcome(epoch = "e1") {
      this.say("welcome", { connection_id: "c1", epoch, permissions: ["observe"] });
    }
    event(seq, to = "adw:29fb6a3e") {
      this.say("adw.text_block", { content: String(seq) }, { to, seq, prev: seq - 1 });
    }
    end(code, reason = "") {
      this.onclose?.({ code, reason });
    }
    commands(type) {
      return this.sent.filter((command) => command.type === type);
    }
  }
  const states = [];
  const frames = [];
  const link = new Link({ url: "ws://host/v1/ws", observe: true, WebSocket: Socket, timers, random: () => 1, onState: (state) => states.push(state.phase), onFrame: (frame) => frames.push(frame), ...over });
  return { link, timers, sockets, states, frames, Socket };
}
// What the first subscription of a socket asks for, and from where.
const asked = (socket) => Object.fromEntries(socket.commands("subscribe")[0].data.streams.map(({ to, since }) => [to, since]));
const settle = () => new Promise((resolve) => setImmediate(resolve));

test("delays double from half a second to 30 s and are spread by chance", () => {
  assert.deepEqual([0, 1, 2, 6, 7, 60].map((n) => backoff(n, 1)), [500, 1000, 2000, 30_000, 30_000, 30_000]);
  assert.equal(backoff(3, 0), 2000);
  assert.ok(backoff(3, 0.5) > 2000 && backoff(3, 0.5) < 4000);
});

test("close codes decide: unauthorised and forbidden never retry, a restart does", () => {
  assert.equal(closePolicy(4001).then, "token");
  assert.equal(closePolicy(4003).then, "forbidden");
  for (const code of [1000, 1008, 4000, 4009]) assert.equal(closePolicy(code).then, "stop", String(code));
  for (const code of [1001, 1006, 1009, 1012, 4002, 4008, 4029, 4999]) assert.equal(closePolicy(code).then, "retry", String(code));
});

test("a token travels as a subprotocol, in base64url without padding", () => {
  assert.equal(tokenProtocol("a?~>ü"), `eventwire.token.${Buffer.from("a?~>ü").toString("base64url")}`);
  const { link, sockets } = world({ token: () => "s3cret" });
  link.start();
  assert.deepEqual(sockets[0].protocols, ["eventwire.v1", "eventwire.token.czNjcmV0"]);
  assert.ok(!sockets[0].url.includes("s3cret"), "never in the address");
});

test("the first connection observes, then fetches the newest part of the history", () => {
  const { link, sockets } = world({ backfill: 100 });
  link.start();
  assert.equal(sockets[0].url, "ws://host/v1/ws?observe=1");
  sockets[0].welcome();
  sockets[0].say("subscribed", { epoch: "e1", streams: [{ to: "*", head: 250 }], refused: [] });
  assert.deepEqual(sockets[0].commands("subscribe").map((command) => command.data), [{ epoch: "e1", streams: [{ to: "*", since: 150 }] }]);
  sockets[0].say("subscribed", { epoch: "e1", streams: [{ to: "*", head: 250 }], refused: [] });
  assert.equal(sockets[0].commands("subscribe").length, 1, "only once");
  assert.equal(link.filling, true);
  sockets[0].say("replaying", { stream: "*", from: 150 });
  sockets[0].say("recovered", { stream: "*", recovered: 100, upto: 250 });
  assert.equal(link.filling, false);
});

test("an empty history is not asked for", () => {
  const { link, sockets } = world();
  link.start();
  sockets[0].welcome();
  sockets[0].say("subscribed", { epoch: "e1", streams: [{ to: "*", head: 0 }], refused: [] });
  assert.equal(sockets[0].commands("subscribe").length, 0);
});

function observing(over) {
  const made = world(over);
  made.link.start();
  made.sockets[0].welcome();
  made.sockets[0].say("subscribed", { epoch: "e1", streams: [{ to: "*", head: 0 }], refused: [] });
  return made;
}

test("a lost connection comes back by itself and resumes every stream after the last event seen", () => {
  const { timers, sockets, states } = observing();
  sockets[0].say("subscribed", { epoch: "e1", streams: [{ to: "room:tasks", head: 3 }], refused: [] });
  for (const seq of [4, 5, 6]) sockets[0].event(seq);
  sockets[0].end(1006);
  assert.equal(states.at(-1), "waiting");
  timers.advance(499);
  assert.equal(sockets.length, 1);
  timers.advance(1);
  assert.equal(sockets.length, 2);
  assert.equal(sockets[1].url, "ws://host/v1/ws", "the set to resume is in the command");
  sockets[1].welcome();
  assert.deepEqual(sockets[1].commands("subscribe").map((command) => command.data), [{ epoch: "e1", streams: [{ to: "global", since: 0 }, { to: "*", since: 6 }, { to: "room:tasks", since: 3 }] }]);
});

test("a connection cut in the middle of a replay resumes inside that replay", () => {
  const { timers, sockets } = observing({ backfill: 10 });
  sockets[0].end(1006);
  timers.advance(500);
  sockets[1].welcome();
  sockets[1].say("subscribed", { re: "x", epoch: "e1", streams: [{ to: "*", head: 90 }], refused: [] });
  sockets[1].say("replaying", { stream: "*", from: 0 });
  for (const seq of [1, 2, 3]) sockets[1].event(seq);
  sockets[1].end(1006);
  timers.advance(500);
  sockets[2].welcome();
  assert.deepEqual(asked(sockets[2]), { global: 0, "*": 3 });
});

test("a root that is named, and what comes without asking, have places of their own beside the star", () => {
  const { timers, sockets, link } = observing();
  link.sendText(JSON.stringify({ type: "subscribe", data: { epoch: "e1", streams: [{ to: "adw:29fb6a3e", since: 10 }] } }));
  sockets[0].say("subscribed", { epoch: "e1", streams: [{ to: "adw:29fb6a3e", head: 50 }], refused: [] });
  sockets[0].say("replaying", { stream: "adw:29fb6a3e", from: 10 });
  sockets[0].event(40, "room:a");
  sockets[0].event(11);
  sockets[0].event(12, "adw:29fb6a3e/raw");
  // The star falls behind; the others stay live.
  sockets[0].say("replaying", { stream: "*", from: 40 });
  sockets[0].event(90, "global");
  sockets[0].event(41, "room:b");
  sockets[0].end(1006);
  timers.advance(500);
  sockets[1].welcome();
  assert.deepEqual(asked(sockets[1]), { global: 90, "*": 41, "adw:29fb6a3e": 12 });
});

test("what comes without asking is the own user and session as well, and none of it is shown as a subscription", () => {
  const { link, timers, sockets } = world();
  link.start();
  const who = { connection_id: "c1", epoch: "e1", user_id: "ada", session_id: "~00" };
  sockets[0].say("welcome", who);
  sockets[0].say("subscribed", { epoch: "e1", streams: [{ to: "*", head: 0 }], refused: [] });
  sockets[0].event(3, "user:ada");
  sockets[0].event(4, "session:~00");
  sockets[0].event(5, "user:bob");
  sockets[0].end(1006);
  timers.advance(500);
  sockets[1].say("welcome", who);
  assert.deepEqual(asked(sockets[1]), { global: 0, "user:ada": 3, "session:~00": 4, "*": 5 });
  sockets[1].say("subscribed", { epoch: "e1", streams: ["global", "user:ada", "session:~00", "*"].map((to) => ({ to, head: 5 })), refused: [] });
  assert.deepEqual(link.connection.subscriptions, ["*"]);
  sockets[1].end(1006);
  timers.advance(500);
  sockets[2].say("welcome", { ...who, user_id: "bob" });
  assert.deepEqual(asked(sockets[2]), { global: 0, "user:bob": 5, "session:~00": 4, "*": 5 }, "until now these came under the star");
});

test("a live event before the answer to a resume moves nothing: it comes again behind what was missed", () => {
  const { link, timers, sockets } = observing();
  sockets[0].event(5, "global");
  sockets[0].event(6);
  sockets[0].end(1006);
  timers.advance(500);
  sockets[1].welcome();
  assert.equal(link.settled({ to: "global" }), false);
  sockets[1].event(100, "global");
  sockets[1].say("recovered", { stream: "global", recovered: 0, upto: 100 });
  sockets[1].end(1006);
  timers.advance(500);
  sockets[2].welcome();
  assert.deepEqual(asked(sockets[2]), { global: 5, "*": 6 });
  sockets[2].say("subscribed", { epoch: "e1", streams: [{ to: "global", head: 100 }, { to: "*", head: 100 }], refused: [] });
  assert.equal(link.settled({ to: "global" }), true);
  sockets[2].event(50, "global");
  sockets[2].end(1006);
  timers.advance(500);
  sockets[3].welcome();
  assert.deepEqual(asked(sockets[3]), { global: 50, "*": 6 });
});

test("a connection cut before the newest part of the history was answered asks for it again", () => {
  const { link, timers, sockets } = world({ backfill: 100 });
  link.start();
  sockets[0].welcome();
  sockets[0].say("subscribed", { epoch: "e1", streams: [{ to: "*", head: 250 }], refused: [] });
  sockets[0].event(251);
  sockets[0].event(252, "global");
  sockets[0].end(1006);
  timers.advance(500);
  sockets[1].welcome();
  assert.deepEqual(asked(sockets[1]), { global: 150, "*": 150 });
});

test("a root that is unsubscribed while it replays is not passed over by the star, under which it comes", () => {
  const { timers, sockets } = observing();
  sockets[0].say("subscribed", { epoch: "e1", streams: [{ to: "adw:29fb6a3e", head: 0 }], refused: [] });
  sockets[0].event(20);
  sockets[0].say("replaying", { stream: "adw:29fb6a3e", from: 20 });
  sockets[0].say("unsubscribed", { streams: [{ to: "adw:29fb6a3e" }] });
  sockets[0].event(21);
  sockets[0].event(90, "room:a");
  sockets[0].end(1006);
  timers.advance(500);
  sockets[1].welcome();
  assert.deepEqual(asked(sockets[1]), { global: 0, "*": 21 });
});

test("subscribing again from now on moves nothing", () => {
  const { timers, sockets } = observing();
  sockets[0].event(5);
  sockets[0].say("subscribed", { epoch: "e1", streams: [{ to: "*", head: 80 }], refused: [] });
  sockets[0].end(1006);
  timers.advance(500);
  sockets[1].welcome();
  assert.deepEqual(asked(sockets[1]), { global: 0, "*": 5 });
});

test("a refusal to observe is kept with its reason until it is granted", () => {
  const { link, sockets } = world();
  link.start();
  sockets[0].welcome();
  sockets[0].say("subscribed", { epoch: "e1", streams: [], refused: [{ to: "*", code: "forbidden", message: "needs observe" }] });
  assert.equal(link.refusal, "needs observe");
  assert.equal(link.state.phase, "live");
  sockets[0].say("subscribed", { epoch: "e1", streams: [{ to: "*", head: 0 }], refused: [] });
  assert.equal(link.refusal, null);
});

test("a finished replay moves the position to what the server says it reached", () => {
  const { timers, sockets } = observing();
  sockets[0].say("replaying", { stream: "*", from: 0 });
  sockets[0].say("recovered", { stream: "*", recovered: true, upto: 77 });
  sockets[0].end(1006);
  timers.advance(500);
  sockets[1].welcome();
  assert.deepEqual(asked(sockets[1]), { global: 0, "*": 77 });
});

test("positions of an ended epoch are never used: the newest part of the new one is fetched", () => {
  const { timers, sockets } = observing({ backfill: 100 });
  sockets[0].say("subscribed", { epoch: "e1", streams: [{ to: "room:a", head: 400 }], refused: [] });
  sockets[0].event(500);
  sockets[0].end(1012);
  timers.advance(500);
  sockets[1].welcome("e2");
  assert.deepEqual(sockets[1].commands("subscribe")[0].data, { epoch: "e2", streams: [{ to: "*" }, { to: "room:a", since: 0 }] });
  sockets[1].say("subscribed", { epoch: "e2", streams: [{ to: "*", head: 120 }, { to: "room:a", head: 7 }], refused: [] });
  assert.deepEqual(sockets[1].commands("subscribe")[1].data, { epoch: "e2", streams: [{ to: "*", since: 20 }] });
  sockets[1].say("subscribed", { epoch: "e2", streams: [{ to: "*", head: 120 }], refused: [] });
  sockets[1].say("recovered", { stream: "*", recovered: 100, upto: 120 });
  sockets[1].end(1006);
  timers.advance(500);
  sockets[2].welcome("e2");
  assert.deepEqual(sockets[2].commands("subscribe")[0].data, { epoch: "e2", streams: [{ to: "global", since: 20 }, { to: "*", since: 120 }, { to: "room:a", since: 0 }] });
});

test("positions of an ended epoch are not used either when the first connection of the new one is cut at once", () => {
  const { timers, sockets } = observing({ backfill: 100 });
  sockets[0].say("subscribed", { epoch: "e1", streams: [{ to: "room:a", head: 400 }], refused: [] });
  sockets[0].event(500);
  sockets[0].end(1012);
  timers.advance(500);
  sockets[1].welcome("e2");
  sockets[1].end(1006);
  timers.advance(500);
  sockets[2].welcome("e2");
  assert.deepEqual(asked(sockets[2]), { "*": undefined, "room:a": 0 });
  sockets[2].say("subscribed", { epoch: "e2", streams: [{ to: "*", head: 120 }, { to: "room:a", head: 7 }], refused: [] });
  assert.deepEqual(sockets[2].commands("subscribe")[1].data, { epoch: "e2", streams: [{ to: "*", since: 20 }] });
});

test("what was unsubscribed is not resumed", () => {
  const { timers, sockets } = observing();
  sockets[0].say("subscribed", { epoch: "e1", streams: [{ to: "room:a", head: 1 }], refused: [] });
  sockets[0].say("unsubscribed", { streams: [{ to: "*" }] });
  sockets[0].end(1006);
  timers.advance(500);
  sockets[1].welcome();
  assert.deepEqual(asked(sockets[1]), { global: 0, "room:a": 1 });
});

test("codes 4001 and 4003 end in their own states and never retry", () => {
  for (const [code, phase] of [[4001, "token"], [4003, "forbidden"], [1008, "stopped"], [1000, "stopped"]]) {
    const { timers, sockets, states } = observing();
    sockets[0].end(code);
    assert.equal(states.at(-1), phase);
    timers.advance(3_600_000);
    assert.equal(sockets.length, 1, `${code} retried`);
  }
});

test("a socket that never opens asks HTTP why: 401 asks for a token, 403 gives up, else it tries again", async () => {
  for (const [status, phase, retries] of [[401, "token", 1], [403, "forbidden", 1], [200, "waiting", 2], [0, "waiting", 2]]) {
    const { link, timers, sockets, states } = world({ probe: async () => status });
    link.start();
    sockets[0].end(1006);
    await settle();
    assert.equal(states.at(-1), phase, String(status));
    timers.advance(600);
    assert.equal(sockets.length, retries, String(status));
  }
});

test("the server's wish when to come back is respected", () => {
  const { timers, sockets } = observing();
  sockets[0].say("closing", { reason: "drain", reconnect_after_ms: 7000 });
  sockets[0].end(1012);
  timers.advance(6999);
  assert.equal(sockets.length, 1);
  timers.advance(1);
  assert.equal(sockets.length, 2);
});

test("delays grow while nothing succeeds and start over after a welcome", async () => {
  const { link, timers, sockets } = world();
  link.start();
  for (const delay of [500, 1000, 2000]) {
    sockets.at(-1).end(1006);
    await settle();
    const before = sockets.length;
    timers.advance(delay - 1);
    assert.equal(sockets.length, before);
    timers.advance(1);
    assert.equal(sockets.length, before + 1);
  }
  sockets.at(-1).welcome();
  sockets.at(-1).end(1006);
  const before = sockets.length;
  timers.advance(500);
  assert.equal(sockets.length, before + 1);
});

test("a silent connection is given up, one with traffic is not", () => {
  const busy = observing();
  for (let i = 0; i < 20; i += 1) {
    busy.timers.advance(10_000);
    busy.sockets[0].say("heartbeat", { active_connections: 1 });
  }
  assert.equal(busy.sockets.length, 1);
  const silent = observing();
  silent.timers.advance(60_000);
  assert.ok(silent.sockets.length > 1);
  assert.equal(silent.sockets[0].closed, 1000);
});

test("a reply finds its command, also when it is an error", async () => {
  const { link, sockets } = observing();
  const reply = link.command("subscribe", { streams: [{ to: "adw:bad" }] }, "q1");
  sockets[0].say("error", { re: "q1", code: "invalid_id", message: "8 alphanumerics" });
  assert.equal((await reply).data.code, "invalid_id");
});

test("commands end with the connection, or after ten seconds without a reply", async () => {
  const cut = observing();
  const lost = cut.link.command("ping", {}, "q1");
  cut.sockets[0].end(1006);
  await assert.rejects(lost, /connection ended/);
  const slow = observing();
  const late = slow.link.command("ping", {}, "q2");
  slow.timers.advance(10_000);
  await assert.rejects(late, /no reply to ping within 10.0 s/);
  await assert.rejects(world().link.command("ping", {}), /not connected/);
});

test("frames of a socket that was given up are not heard", () => {
  const { link, sockets, frames } = observing();
  const { onmessage } = sockets[0];
  link.start();
  const before = frames.length;
  onmessage({ data: JSON.stringify({ type: "adw.text_block", to: "adw:29fb6a3e", seq: 1, prev: 0, data: {} }) });
  assert.equal(frames.length, before);
});

test("unreadable text is noted and harms nothing", () => {
  const notes = [];
  const { sockets, link } = observing({ onNote: (label, text) => notes.push(`${label} ${text}`) });
  sockets[0].onmessage({ data: "{oops" });
  assert.match(notes[0], /unreadable .*not JSON/);
  assert.equal(link.state.phase, "live");
});

test("a history is read on a connection of its own, up to its end, and its gap is told", async () => {
  const { sockets, Socket } = world();
  const seen = [];
  const read = readHistory({ url: "ws://host/v1/ws", token: () => null, to: "adw:29fb6a3e", WebSocket: Socket, onFrame: (frame) => seen.push(frame.seq) });
  sockets[0].welcome();
  assert.deepEqual(sockets[0].sent[0].data, { epoch: "e1", streams: [{ to: "adw:29fb6a3e", since: 0 }] });
  sockets[0].say("subscribed", { epoch: "e1", streams: [{ to: "adw:29fb6a3e", head: 9 }], refused: [] });
  sockets[0].say("gap", { stream: "adw:29fb6a3e", reason: "expired", to_seq: 3 });
  // Of what comes without asking, some had to be caught up with.
  sockets[0].say("gap", { stream: "global", reason: "slow_consumer", to_seq: 2 });
  sockets[0].say("recovered", { stream: "global", recovered: 1, upto: 3 });
  sockets[0].say("replaying", { stream: "adw:29fb6a3e", from: 0 });
  sockets[0].event(4);
  sockets[0].event(5, "adw:29fb6a3e/raw");
  sockets[0].event(6, "adw:other123");
  sockets[0].say("recovered", { stream: "adw:29fb6a3e", recovered: false, upto: 5 });
  assert.deepEqual(await read, { events: 2, gap: { stream: "adw:29fb6a3e", reason: "expired", to_seq: 3 } });
  assert.deepEqual(seen, [4, 5]);
  assert.equal(sockets[0].closed, 1000);
});

test("a refused history is an error with the server's reason", async () => {
  const { sockets, Socket } = world();
  const read = readHistory({ url: "ws://host/v1/ws", token: () => null, to: "adw:29fb6a3e", WebSocket: Socket, onFrame() {} });
  sockets[0].welcome();
  sockets[0].say("subscribed", { epoch: "e1", streams: [], refused: [{ to: "adw:29fb6a3e", code: "forbidden", message: "not yours" }] });
  await assert.rejects(read, /not yours/);
});
