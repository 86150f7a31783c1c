import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";
import { ending, Link, readHistory, readOlder } from "../link.js";

afterEach(() => mock.reset());

const settle = () => new Promise((resolve) => setImmediate(resolve));

/** Lets time pass; what waits for a promise gets its turn after every step. */
async function pass(ms) {
  for (let left = ms; left > 0; left -= 100) {
    mock.timers.tick(Math.min(100, left));
    await settle();
  }
}

// Every socket the link opens, with both ends in the hands of the test; a clock that only moves when told to; no chance.
function world(over = {}) {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  mock.method(Math, "random", () => 1);
  // Elapsed time and the wall clock go together.
  mock.method(performance, "now", () => Date.now());
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
    welcome(epoch = "e1", who = {}) {
      this.say("welcome", { connection_id: "c1", epoch, permissions: ["observe"], ...who });
    }
    event(seq, to = "adw:29fb6a3e", prev = seq - 1) {
      this.say("adw.text_block", { content: String(seq) }, { to, seq, prev });
    }
    /** Answers the newest subscription, or one that a person sent. */
    subscribed(heads, { refused = [], re = this.commands("subscribe").at(-1).id } = {}) {
      this.say("subscribed", { re, epoch: "e1", streams: Object.entries(heads).map(([to, head]) => ({ to, head })), refused });
    }
    pong() {
      for (const { id } of this.commands("ping")) this.say("pong", { re: id });
    }
    end(code, reason = "") {
      this.onclose?.({ code, reason });
    }
    commands(type) {
      return this.sent.filter((command) => command.type === type);
    }
    /** What the subscription with an index asks for, and from where. */
    asked(index = 0) {
      return Object.fromEntries(this.commands("subscribe").at(index).data.streams.map(({ to, since }) => [to, since]));
    }
  }
  const states = [];
  const frames = [];
  const holes = [];
  const notes = [];
  const link = new Link({
    url: "ws://host/v1/ws", observe: true, WebSocket: Socket,
    onState: ({ phase }) => states.push(phase), onFrame: (frame) => frames.push(frame), onHole: (hole) => holes.push(hole), onNote: (label, text) => notes.push(`${label} ${text}`),
    ...over,
  });
  return { link, sockets, states, frames, holes, notes, Socket };
}

async function started(over) {
  const made = world(over);
  made.link.start();
  await settle();
  return made;
}

async function observing(over) {
  const made = await started(over);
  made.sockets[0].welcome();
  made.sockets[0].subscribed({ global: 0, "*": 0 });
  await settle();
  return made;
}

/** Ends the newest socket; returns the next one, welcomed. */
async function again({ sockets }, { code = 1006, epoch = "e1", who = {} } = {}) {
  const before = sockets.length;
  sockets.at(-1).end(code);
  for (let waited = 0; sockets.length === before && waited < 30_000; waited += 100) await pass(100);
  sockets.at(-1).welcome(epoch, who);
  return sockets.at(-1);
}

const seqs = (frames) => frames.filter(({ type }) => !type.startsWith("connection.")).map(({ seq }) => seq);

// ------------------------------------------------------------------------------------------ observing

test("the first connection observes, then fetches the newest part of the history", async () => {
  const { link, sockets, frames } = await started({ backfill: 100 });
  const { origin, pathname, search } = new URL(sockets[0].url);
  assert.deepEqual([origin, pathname, search], ["ws://host", "/v1/ws", ""]);
  assert.deepEqual(sockets[0].protocols, ["eventwire.v1"]);
  sockets[0].welcome();
  assert.deepEqual(sockets[0].asked(), { "*": undefined, global: undefined });
  sockets[0].subscribed({ global: 240, "*": 250 }); await settle();
  assert.deepEqual(sockets[0].asked(1), { "*": 150, global: 150 });
  assert.equal(sockets[0].commands("subscribe")[1].data.epoch, "e1");
  assert.equal(link.filling, true);
  sockets[0].event(251);
  assert.deepEqual(seqs(frames), [], "it comes again behind what is fetched");
  sockets[0].subscribed({ global: 240, "*": 251 }); await settle();
  assert.equal(sockets[0].commands("subscribe").length, 2, "only once");
  sockets[0].say("replaying", { stream: "*", from: 150 });
  for (const seq of [151, 251]) sockets[0].event(seq, "adw:29fb6a3e", seq - 100);
  assert.equal(link.filling, true);
  sockets[0].say("recovered", { stream: "*", recovered: true, upto: 251 });
  assert.equal(link.filling, false);
  assert.deepEqual(seqs(frames), [151, 251]);
});

test("the newest part of the history is two thousand events, of what comes without asking as well", async () => {
  const { sockets } = await started();
  sockets[0].welcome("e1", { user_id: "ada", session_id: "~00" });
  sockets[0].subscribed({ global: 0, "user:ada": 0, "session:~00": 0, "*": 5000 }); await settle();
  assert.deepEqual(sockets[0].asked(1), { "*": 3000, global: 3000, "user:ada": 3000, "session:~00": 3000 });
});

test("an empty history is not asked for, and one that is short from its beginning", async () => {
  const empty = await observing();
  assert.equal(empty.sockets[0].commands("subscribe").length, 1);
  assert.equal(empty.link.filling, false);
  const short = await started({ backfill: 100 });
  short.sockets[0].welcome();
  short.sockets[0].subscribed({ global: 0, "*": 7 }); await settle();
  assert.deepEqual(short.sockets[0].asked(1), { "*": 0, global: 0 });
});

test("a connection cut before the newest part of the history was answered asks for it again", async () => {
  const made = await started({ backfill: 100 });
  made.sockets[0].welcome();
  made.sockets[0].subscribed({ global: 0, "*": 250 }); await settle();
  made.sockets[0].event(251);
  made.sockets[0].event(252, "global");
  const next = await again(made);
  assert.deepEqual(next.asked(), { "*": 150, global: 150 });
});

test("a refusal to observe is kept with its reason until it is granted, and asked about by the next connection", async () => {
  const made = await started();
  const { link, sockets } = made;
  sockets[0].welcome();
  sockets[0].subscribed({ global: 0 }, { refused: [{ to: "*", code: "forbidden", message: "needs observe" }] }); await settle();
  await settle();
  assert.equal(link.refusal, "needs observe");
  assert.equal(link.state.phase, "live");
  const next = await again(made);
  assert.deepEqual(next.asked(), { global: 0, "*": undefined });
  assert.equal(link.refusal, null, "until it is refused again");
  next.subscribed({ global: 0 }, { refused: [{ to: "*", code: "forbidden", message: "still needs observe" }] }); await settle();
  assert.equal(link.refusal, "still needs observe");
  link.sendText('{"type":"subscribe","id":"c1","data":{"streams":[{"to":"*"}]}}'); await settle();
  next.subscribed({ "*": 0 }, { re: "c1" }); await settle();
  assert.equal(link.refusal, null);
});

test("what was unsubscribed is not resumed, until the page observes again", async () => {
  const made = await observing();
  made.link.sendText(JSON.stringify({ type: "subscribe", id: "c1", data: { streams: [{ to: "room:a" }] } })); await settle();
  made.sockets[0].subscribed({ "room:a": 1 }, { re: "c1" }); await settle();
  made.sockets[0].subscribed({ "room:a": 1 }); await settle();
  made.link.sendText('{"type":"unsubscribe","id":"c2","data":{"streams":[{"to":"*"}]}}'); await settle();
  made.sockets[0].say("unsubscribed", { re: "c2", streams: [{ to: "*" }] }); await settle();
  assert.deepEqual(made.link.connection.subscriptions, ["room:a"]);
  const next = await again(made);
  assert.deepEqual(next.asked(), { global: 0, "room:a": 1 });
  made.link.observe(); await settle();
  assert.deepEqual(next.asked(1), { "*": undefined });
  made.link.observe(); await settle();
  assert.equal(next.commands("subscribe").length, 2, "once");
});

test("the star typed again is wanted like that of the page: its refusal is not for ever", async () => {
  const made = await observing();
  made.sockets[0].say("unsubscribed", { streams: [{ to: "*" }] }); await settle();
  made.link.sendText('{"type":"subscribe","id":"c1","data":{"streams":[{"to":"*"}]}}'); await settle();
  made.sockets[0].subscribed({ "*": 0 }, { re: "c1" }); await settle();
  (await again(made)).subscribed({ global: 0 }, { refused: [{ to: "*", code: "unavailable", message: "not now" }] });
  assert.ok("*" in (await again(made)).asked());
});

test("what the server takes away by itself is not resumed", async () => {
  const made = await observing();
  made.sockets[0].say("unsubscribed", { streams: [{ to: "*" }] }); await settle();
  assert.deepEqual(made.link.connection.subscriptions, []);
  assert.deepEqual((await again(made)).asked(), { global: 0 });
});

// ------------------------------------------------------------------------------------------ coming back

test("a lost connection comes back by itself and resumes every stream after the last event seen", async () => {
  const made = await observing();
  const { link, sockets, states } = made;
  for (const seq of [4, 5, 6]) sockets[0].event(seq);
  sockets[0].end(1006);
  assert.equal(states.at(-1), "waiting");
  assert.deepEqual(link.state, { phase: "waiting", detail: "the connection was lost", retryAt: 1_000_500, code: 1006 });
  await pass(400);
  assert.equal(sockets.length, 1);
  await pass(100);
  assert.equal(sockets.length, 2);
  sockets[1].welcome();
  assert.equal(sockets[1].commands("subscribe").length, 1);
  assert.deepEqual(sockets[1].commands("subscribe")[0].data.epoch, "e1");
  assert.deepEqual(sockets[1].asked(), { "*": 6, global: 0 });
});

test("a connection cut in the middle of a replay resumes inside that replay, and a finished one moves to its end", async () => {
  const made = await observing();
  let next = await again(made);
  next.subscribed({ global: 0, "*": 90 }); await settle();
  next.say("replaying", { stream: "*", from: 0 });
  for (const seq of [1, 2, 3]) next.event(seq);
  next = await again(made);
  assert.deepEqual(next.asked(), { "*": 3, global: 0 });
  next.subscribed({ global: 0, "*": 90 }); await settle();
  next.say("replaying", { stream: "*", from: 3 });
  next.say("recovered", { stream: "*", recovered: true, upto: 77 });
  assert.deepEqual((await again(made)).asked(), { "*": 77, global: 0 });
});

test("a live event before the answer to a resume is not shown: it comes again behind what was missed", async () => {
  const made = await observing();
  made.sockets[0].event(5, "global");
  made.sockets[0].event(6);
  let next = await again(made);
  next.event(100, "global");
  next = await again(made);
  assert.deepEqual(next.asked(), { "*": 6, global: 5 });
  next.subscribed({ global: 100, "*": 100 }); await settle();
  next.event(50, "global");
  assert.deepEqual((await again(made)).asked(), { "*": 6, global: 50 });
  assert.deepEqual(seqs(made.frames), [5, 6, 50]);
});

test("what comes without asking is the own user and session as well, and none of it is shown as a subscription", async () => {
  const who = { user_id: "ada", session_id: "~00" };
  const made = await started();
  const { link, sockets } = made;
  sockets[0].welcome("e1", who);
  sockets[0].subscribed({ global: 0, "user:ada": 0, "session:~00": 0, "*": 0 }); await settle();
  assert.deepEqual(link.connection.subscriptions, ["*"]);
  sockets[0].event(3, "user:ada");
  sockets[0].event(4, "session:~00");
  sockets[0].event(5, "user:bob");
  const next = await again(made, { who });
  assert.deepEqual(next.asked(), { global: 0, "user:ada": 3, "session:~00": 4, "*": 5 });
  next.subscribed({ global: 5, "user:ada": 5, "session:~00": 5, "*": 5 }); await settle();
  assert.deepEqual(link.connection.subscriptions, ["*"]);
  const bob = await again(made, { who: { ...who, user_id: "bob" } });
  assert.equal(bob.asked()["user:bob"], 5, "until now these came under the star");
  bob.subscribed({ global: 5, "user:bob": 5, "session:~00": 5, "*": 5 }, { refused: [{ to: "user:ada", code: "forbidden", message: "not yours" }] }); await settle();
  assert.deepEqual(link.connection.subscriptions, ["*"]);
});

test("positions of an ended epoch are never used: the newest part of the new one is fetched", async () => {
  const made = await observing({ backfill: 100 });
  const { link, sockets } = made;
  link.sendText(JSON.stringify({ type: "subscribe", id: "c1", data: { streams: [{ to: "room:a" }] } })); await settle();
  sockets[0].subscribed({ "room:a": 400 }, { re: "c1" }); await settle();
  sockets[0].subscribed({ "room:a": 400 }); await settle();
  sockets[0].event(500);
  // Also when the first connection of the new one is cut at once.
  await again(made, { code: 1012, epoch: "e2" });
  const next = await again(made, { epoch: "e2" });
  assert.deepEqual(next.asked(), { "*": 0, "room:a": 0, global: 0 });
  assert.equal(next.commands("subscribe")[0].data.epoch, "e2");
  assert.equal(link.filling, true);
  next.subscribed({ "*": 120, "room:a": 7, global: 0 }); await settle();
  assert.deepEqual(next.asked(1), { "*": 20, global: 20 });
  next.subscribed({ "*": 120, global: 0 }); await settle();
  next.say("recovered", { stream: "*", recovered: true, upto: 120 });
  assert.equal(link.filling, false);
  assert.deepEqual((await again(made, { epoch: "e2" })).asked(), { "*": 120, "room:a": 0, global: 20 });
});

test("a new history that is short is not asked for twice", async () => {
  const made = await observing({ backfill: 100 });
  made.sockets[0].event(500);
  const next = await again(made, { epoch: "e2" });
  next.subscribed({ "*": 12, global: 0 }); await settle();
  assert.equal(next.commands("subscribe").length, 1);
});

// ------------------------------------------------------------------------------------------ what a person types

test("text goes out as it stands, and what it subscribed to is resumed in its own place beside the star", async () => {
  const made = await observing();
  const { link, sockets } = made;
  const typed = { type: "subscribe", id: "c1", data: { epoch: "e1", streams: [{ to: "adw:29fb6a3e", since: 10 }] } };
  assert.equal(link.sendText(JSON.stringify(typed)), true); await settle();
  assert.deepEqual(sockets[0].sent.at(-1), typed);
  sockets[0].event(40, "room:a");
  sockets[0].subscribed({ "adw:29fb6a3e": 50 }, { re: "c1" }); await settle();
  assert.deepEqual(link.connection.subscriptions, ["*", "adw:29fb6a3e"]);
  assert.deepEqual(sockets[0].asked(-1), { "adw:29fb6a3e": 10 }, "the client asks for itself");
  sockets[0].subscribed({ "adw:29fb6a3e": 50 }); await settle();
  sockets[0].say("replaying", { stream: "adw:29fb6a3e", from: 10 });
  sockets[0].event(11);
  sockets[0].event(12, "adw:29fb6a3e/raw");
  // The star falls behind; the others stay live.
  sockets[0].say("replaying", { stream: "*", from: 40 });
  sockets[0].event(90, "global");
  sockets[0].event(41, "room:b");
  assert.deepEqual((await again(made)).asked(), { "*": 41, global: 90, "adw:29fb6a3e": 12 });
});

test("a subscription typed without an id, from now on, is resumed like any other", async () => {
  const made = await observing();
  made.link.sendText('{"type":"subscribe","data":{"streams":[{"to":"room:a"},{"to":"room:b"}]}}'); await settle();
  made.sockets[0].subscribed({ "room:a": 3 }, { re: undefined, refused: [{ to: "room:b", code: "forbidden", message: "no" }] }); await settle();
  const next = await again(made);
  assert.deepEqual(Object.keys(next.asked()).sort(), ["*", "global", "room:a"]);
});

test("the star typed from a point in the past takes along what comes without asking", async () => {
  const made = await observing();
  made.link.sendText('{"type":"subscribe","id":"c1","data":{"epoch":"e1","streams":[{"to":"*","since":2}]}}'); await settle();
  made.sockets[0].subscribed({ "*": 9 }, { re: "c1" }); await settle();
  assert.deepEqual(made.sockets[0].asked(-1), { "*": 2, global: 2 });
});

test("subscribing again from now on moves nothing", async () => {
  const made = await observing();
  made.sockets[0].event(5);
  made.link.sendText('{"type":"subscribe","id":"c1","data":{"streams":[{"to":"*"}]}}'); await settle();
  made.sockets[0].subscribed({ "*": 80 }, { re: "c1" }); await settle();
  assert.deepEqual((await again(made)).asked(), { "*": 5, global: 0 });
});

test("a typed command that is refused subscribes to nothing", async () => {
  const made = await observing();
  made.link.sendText('{"type":"subscribe","id":"c1","data":{"streams":[{"to":"adw:bad"}]}}'); await settle();
  made.sockets[0].say("error", { re: "c1", code: "invalid_id", message: "8 alphanumerics" }); await settle();
  assert.equal(made.frames.at(-1).data.code, "invalid_id", "the console is told");
  made.sockets[0].subscribed({ "adw:bad": 1 }, { re: "c1" }); await settle();
  assert.deepEqual((await again(made)).asked(), { "*": 0, global: 0 });
});

test("a root that is unsubscribed while it replays is not passed over by the star, under which it comes", async () => {
  const made = await observing();
  made.link.sendText('{"type":"subscribe","id":"c1","data":{"epoch":"e1","streams":[{"to":"adw:29fb6a3e","since":0}]}}'); await settle();
  made.sockets[0].subscribed({ "adw:29fb6a3e": 0 }, { re: "c1" }); await settle();
  made.sockets[0].subscribed({ "adw:29fb6a3e": 0 }); await settle();
  made.sockets[0].event(20);
  made.sockets[0].say("replaying", { stream: "adw:29fb6a3e", from: 20 });
  made.link.sendText('{"type":"unsubscribe","data":{"streams":[{"to":"adw:29fb6a3e"}]}}'); await settle();
  made.sockets[0].say("unsubscribed", { streams: [{ to: "adw:29fb6a3e" }] }); await settle();
  assert.deepEqual(made.sockets[0].commands("unsubscribe").length, 2, "the client is told of it, once");
  made.sockets[0].event(21);
  made.sockets[0].event(90, "room:a");
  const next = await again(made);
  assert.deepEqual(next.asked(), { "*": 90, global: 0, "adw:29fb6a3e": 21 }, "its place is kept");
  next.subscribed({ "*": 90, global: 0, "adw:29fb6a3e": 90 }); await settle();
  assert.deepEqual(made.link.connection.subscriptions, ["*"], "but nobody subscribes to it");
});

test("without an open connection nothing is sent", async () => {
  const { link, sockets } = world();
  assert.equal(link.sendText('{"type":"ping"}'), false); await settle();
  link.start();
  await settle();
  assert.equal(link.sendText('{"type":"ping"}'), false, "not before the welcome"); await settle();
  sockets[0].welcome();
  assert.equal(link.sendText('{"type":"ping"}'), true); await settle();
  link.stop();
  assert.equal(link.sendText('{"type":"ping"}'), false); await settle();
});

test("what was typed and not answered is forgotten with its connection", async () => {
  const made = await observing();
  made.link.sendText('{"type":"unsubscribe","data":{"streams":[{"to":"room:a"}]}}'); await settle();
  const next = await again(made);
  next.say("unsubscribed", { streams: [{ to: "room:b" }] }); await settle();
  assert.equal(next.commands("unsubscribe").length, 0);
});

// ------------------------------------------------------------------------------------------ what is shown

test("a hole in a stream is shown before the event that proves it, unless the server said so itself", async () => {
  const order = [];
  const { sockets } = await observing({ onFrame: ({ seq }) => seq && order.push(seq), onHole: (hole) => order.push(hole) });
  sockets[0].event(10, "adw:29fb6a3e", 4);
  sockets[0].event(20, "adw:other123", 3);
  sockets[0].event(30, "adw:29fb6a3e", 15);
  assert.deepEqual(order, [10, 20, { stream: "adw:29fb6a3e", from_seq: 11, to_seq: 15 }, 30]);
  sockets[0].say("gap", { stream: "*", reason: "slow_consumer", from_seq: 31, to_seq: 50 });
  sockets[0].event(51, "adw:29fb6a3e", 50);
  sockets[0].event(60, "adw:29fb6a3e", 55);
  assert.deepEqual(order.slice(4), [51, { stream: "adw:29fb6a3e", from_seq: 52, to_seq: 55 }, 60]);
});

test("a new epoch excuses nothing that the old one excused, and its beginning is no hole", async () => {
  const made = await observing({ backfill: 100 });
  made.sockets[0].say("gap", { stream: "*", reason: "slow_consumer", to_seq: 500 });
  made.sockets[0].event(501);
  const next = await again(made, { epoch: "e2" });
  next.subscribed({ "*": 10, global: 0 }); await settle();
  next.event(3);
  next.event(9, "adw:29fb6a3e", 7);
  assert.deepEqual(made.holes, [{ stream: "adw:29fb6a3e", from_seq: 4, to_seq: 7 }]);
});

test("unreadable text is noted and harms nothing", async () => {
  const { sockets, link, notes, frames } = await observing();
  sockets[0].onmessage({ data: "{oops" });
  assert.match(notes[0], /unreadable .*not JSON/);
  assert.equal(link.state.phase, "live");
  sockets[0].onmessage({ data: '{"type":"_odd.thing","data":null}' });
  assert.deepEqual(frames.at(-1), { type: "_odd.thing", data: {} }, "what can be read is shown");
});

test("a subscription that is refused when it resumes is noted", async () => {
  const made = await observing();
  made.link.sendText('{"type":"subscribe","id":"c1","data":{"streams":[{"to":"room:a"}]}}'); await settle();
  made.sockets[0].subscribed({ "room:a": 3 }, { re: "c1" }); await settle();
  made.sockets[0].subscribed({ "room:a": 3 }); await settle();
  const next = await again(made);
  next.subscribed({ "*": 0, global: 0 }, { refused: [{ to: "room:a", code: "forbidden", message: "no longer" }] }); await settle();
  assert.deepEqual(made.notes, ["refused room:a: forbidden no longer"]);
});

test("the time of a round trip is known after the first ping", async () => {
  const { link, sockets } = await observing();
  await pass(200);
  sockets[0].pong();
  await settle();
  assert.equal(link.roundTrip, 200);
});

test("the connection and its subscriptions are known while it lasts", async () => {
  const { link, sockets } = await observing();
  assert.equal(link.connection.id, "c1");
  assert.deepEqual(link.connection.subscriptions, ["*"]);
  sockets[0].end(1006);
  assert.deepEqual(link.connection.subscriptions, []);
});

// ------------------------------------------------------------------------------------------ phases

test("a token travels as a subprotocol, in base64url without padding", async () => {
  const { sockets } = await started({ token: () => "s3cret" });
  assert.deepEqual(sockets[0].protocols, ["eventwire.v1", "eventwire.token.czNjcmV0"]);
  assert.ok(!sockets[0].url.includes("s3cret"), "never in the address");
  for (const text of ["a?~>", "tök/en+?", "漢字"]) {
    const { sockets } = await started({ token: () => text });
    assert.equal(sockets[0].protocols[1], `eventwire.token.${Buffer.from(text).toString("base64url")}`);
  }
});

test("starting again takes the token of that moment, and none when it was forgotten", async () => {
  let token = "one";
  const { link, sockets } = await started({ token: () => token });
  sockets[0].end(4001);
  assert.equal(link.state.phase, "token");
  for (const next of ["two", null]) {
    token = next;
    link.start();
    await settle();
    assert.deepEqual(sockets.at(-1).protocols.slice(1), next ? [`eventwire.token.${btoa(next)}`] : []);
    sockets.at(-1).end(4003);
  }
  assert.equal(link.state.phase, "forbidden");
});

test("codes 4001 and 4003 end in their own states and never retry, what a person decided stays", async () => {
  for (const [code, phase] of [[4001, "token"], [4003, "forbidden"], [1008, "stopped"], [1000, "stopped"], [4000, "stopped"], [4009, "stopped"]]) {
    for (const welcomed of [true, false]) {
      const { sockets, states, link } = welcomed ? await observing({ token: () => "s" }) : await started({ token: () => "s" });
      sockets[0].end(code);
      assert.equal(states.at(-1), phase, String(code));
      assert.equal(link.state.code, code);
      await pass(60_000);
      assert.equal(sockets.length, 1, `${code} retried`);
    }
  }
  for (const code of [1001, 1006, 1009, 1012, 1013, 4002, 4008, 4029, 4999]) {
    const { sockets, states } = await observing();
    sockets[0].end(code);
    assert.equal(states.at(-1), "waiting", String(code));
    await pass(500);
    assert.equal(sockets.length, 2, String(code));
  }
});

test("every end is said in words", () => {
  assert.equal(ending(1012, ""), "the server restarts");
  assert.equal(ending(1012, "deploy"), "the server restarts: deploy");
  assert.equal(ending(4999, ""), "closed with code 4999");
  assert.equal(ending(1006, "nothing arrives on the open connection"), "the connection was lost: nothing arrives on the open connection");
});

test("a socket that never opens asks HTTP why: 401 asks for a token, 403 gives up, else it tries again", async () => {
  for (const [status, phase, retries] of [[401, "token", 1], [403, "forbidden", 1], [200, "waiting", 2], [0, "waiting", 2]]) {
    const { sockets, states, link } = await started({ probe: async () => status });
    sockets[0].end(1006);
    assert.equal(states.at(-1), "connecting", "while it asks");
    await settle();
    assert.equal(states.at(-1), phase, String(status));
    if (status === 0) assert.equal(link.state.detail, "the server does not answer");
    await pass(600);
    assert.equal(sockets.length, retries, String(status));
  }
});

test("an answer to why a socket did not open that comes late still counts, but not against an open connection", async () => {
  for (const opened of [false, true]) {
    let answer;
    const { sockets, link } = await started({ probe: () => new Promise((resolve) => (answer = resolve)) });
    sockets[0].end(1006);
    await pass(500);
    assert.equal(link.state.phase, "connecting");
    if (opened) sockets[1].welcome();
    answer(401);
    await settle();
    assert.equal(link.state.phase, opened ? "live" : "token");
    assert.equal(sockets[1].closed, opened ? null : 1000);
  }
});

test("the server's wish when to come back is respected", async () => {
  const { sockets } = await observing();
  sockets[0].say("closing", { reason: "drain", reconnect_after_ms: 7000 });
  sockets[0].end(1012);
  await pass(6900);
  assert.equal(sockets.length, 1);
  await pass(100);
  assert.equal(sockets.length, 2);
});

test("delays double while nothing succeeds", async () => {
  const { sockets } = await started({ probe: async () => 200 });
  for (const delay of [500, 1000, 2000]) {
    sockets.at(-1).end(1006);
    await settle();
    const before = sockets.length;
    await pass(delay - 100);
    assert.equal(sockets.length, before);
    await pass(100);
    assert.equal(sockets.length, before + 1);
  }
});

test("a silent connection is given up, one that answers is not", async () => {
  const busy = await observing();
  for (let i = 0; i < 40; i += 1) {
    await pass(5_000);
    busy.sockets[0].pong();
  }
  assert.equal(busy.sockets.length, 1);
  const silent = await observing();
  await pass(60_000);
  assert.ok(silent.sockets.length > 1);
  assert.equal(silent.sockets[0].closed, 1000);
});

test("stop is for good, start is at once", async () => {
  const { link, sockets, states } = await observing();
  link.stop();
  assert.deepEqual(link.state, { phase: "stopped", detail: "closed by this page", retryAt: null, code: 1000 });
  assert.deepEqual(link.connection.subscriptions, []);
  assert.equal(sockets[0].closed, 1000);
  await pass(60_000);
  assert.equal(sockets.length, 1);
  link.start();
  await settle();
  assert.equal(sockets.length, 2);
  sockets[1].welcome();
  sockets[1].end(1012);
  assert.equal(states.at(-1), "waiting");
  link.start();
  await settle();
  assert.equal(sockets.length, 3, "without waiting");
});

test("frames of a socket that was given up are not heard", async () => {
  const { link, sockets, frames } = await observing();
  const { onmessage } = sockets[0];
  link.start();
  const before = frames.length;
  onmessage({ data: JSON.stringify({ type: "adw.text_block", to: "adw:29fb6a3e", seq: 1, prev: 0, data: {} }) });
  assert.equal(frames.length, before);
});

// ------------------------------------------------------------------------------------------ one history

async function reading(over = {}) {
  const made = world();
  const seen = [];
  const read = readHistory({ url: "ws://host/v1/ws", token: () => null, to: "adw:29fb6a3e", WebSocket: made.Socket, onFrame: (frame) => seen.push(frame.seq), ...over });
  read.catch(() => {});
  await settle();
  made.sockets[0].welcome();
  return { ...made, seen, read };
}

test("a history is read on a connection of its own, up to its end, and its gap is told", async () => {
  const { sockets, seen, read } = await reading();
  assert.deepEqual(sockets[0].asked(), { "adw:29fb6a3e": 0, global: undefined });
  sockets[0].subscribed({ "adw:29fb6a3e": 9, global: 0 }); await settle();
  sockets[0].say("gap", { stream: "adw:29fb6a3e", reason: "expired", to_seq: 3 });
  // Of what comes without asking, some had to be caught up with.
  sockets[0].say("gap", { stream: "global", reason: "slow_consumer", to_seq: 2 });
  sockets[0].say("recovered", { stream: "global", recovered: true, upto: 3 });
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
  const { sockets, read } = await reading();
  sockets[0].subscribed({ global: 0 }, { refused: [{ to: "adw:29fb6a3e", code: "forbidden", message: "not yours" }] }); await settle();
  await assert.rejects(read, /not yours/);
  assert.equal(sockets[0].closed, 1000);
});

test("a history whose connection ends, or that nobody wants any longer, is an error and not tried again", async () => {
  const cut = await reading();
  cut.sockets[0].end(1006);
  await assert.rejects(cut.read, /closed \(1006\)/);
  await pass(60_000);
  assert.equal(cut.sockets.length, 1);
  const control = new AbortController();
  const aborted = await reading({ signal: control.signal });
  control.abort();
  await assert.rejects(aborted.read, /no longer wanted/);
  assert.equal(aborted.sockets[0].closed, 1000);
});

async function readingOlder(before, over = {}) {
  const made = world();
  const read = readOlder({ url: "ws://host/v1/ws", token: () => null, before, count: 10, WebSocket: made.Socket, ...over });
  read.catch(() => {});
  await settle();
  made.sockets[0].welcome();
  await settle();
  return { ...made, read };
}

test("older events are read up to those that are here, in order, with their text, and no further", async () => {
  const { sockets, read } = await readingOlder(31);
  assert.deepEqual(sockets[0].asked(), { "*": 20, global: 20 });
  sockets[0].subscribed({ "*": 900, global: 900 });
  sockets[0].say("replaying", { stream: "global", from: 20 });
  sockets[0].event(24, "global", 0);
  sockets[0].say("recovered", { stream: "global", recovered: true, upto: 900 });
  sockets[0].say("replaying", { stream: "*", from: 20 });
  for (const seq of [22, 30, 31]) sockets[0].event(seq);
  const { events, from, complete } = await read;
  assert.deepEqual(events.map(({ frame }) => frame.seq), [22, 24, 30]);
  assert.equal(JSON.parse(events[0].text).seq, 22);
  assert.deepEqual([from, complete], [21, false]);
  assert.equal(sockets[0].closed, 1000, "what is newer is not waited for");
});

test("older events of what comes without asking are waited for, whichever comes first", async () => {
  const { sockets, read } = await readingOlder(31);
  sockets[0].event(900, "global", 0);
  sockets[0].subscribed({ "*": 900, global: 900 });
  sockets[0].say("replaying", { stream: "*", from: 20 });
  for (const seq of [22, 31]) sockets[0].event(seq);
  sockets[0].say("replaying", { stream: "global", from: 20 });
  sockets[0].event(24, "global", 0);
  sockets[0].say("recovered", { stream: "global", recovered: true, upto: 900 });
  assert.deepEqual((await read).events.map(({ frame }) => frame.seq), [22, 24]);
});

test("nothing is older than the beginning of the history, or than what it keeps", async () => {
  const first = await readingOlder(8);
  assert.deepEqual(first.sockets[0].asked(), { "*": 0, global: 0 });
  first.sockets[0].subscribed({ "*": 9, global: 9 });
  for (const stream of ["global", "*"]) first.sockets[0].say("recovered", { stream, recovered: true, upto: 9 });
  assert.deepEqual(await first.read, { events: [], from: 1, complete: true });
  const gone = await readingOlder(31);
  gone.sockets[0].subscribed({ "*": 40, global: 40 });
  gone.sockets[0].say("gap", { stream: "*", reason: "expired", to_seq: 29 });
  for (const stream of ["global", "*"]) gone.sockets[0].say("recovered", { stream, recovered: false, upto: 40 });
  assert.equal((await gone.read).complete, true);
});

test("older events that the server refuses, or whose connection ends, are an error", async () => {
  const refused = await readingOlder(31);
  refused.sockets[0].subscribed({ global: 40 }, { refused: [{ to: "*", code: "forbidden", message: "observe is needed" }] });
  await assert.rejects(refused.read, /observe is needed/);
  const cut = await readingOlder(31);
  cut.sockets[0].end(1006);
  await assert.rejects(cut.read, /closed \(1006\)/);
});
