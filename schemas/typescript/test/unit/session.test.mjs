// The session against a model of the server, under random scripts: connections that break at any frame, in either direction;
// transports that take turns; restarts with another history; histories that forget; frames that are repeated. The oracle keeps
// books of its own: what was committed, and what must have come.

import assert from "node:assert/strict";
import { test } from "node:test";

import { seeded, source } from "../support/source.mjs";

const { session } = await source("session.ts");

const ROOTS = ["adw:aaaaaaaa", "room:a", "room:b", "session:shop"];
const root = (to) => to.split("/")[0];

/** What the server keeps, and how it answers (docs/spec, LOG, CMD, WS and SSE). */
class Server {
  constructor(random) {
    this.random = random;
    this.restart();
  }
  restart() {
    this.epoch = Math.floor(this.random() * 2 ** 40).toString(16).padStart(16, "0");
    this.epochs = [...(this.epochs ?? []), this.epoch];
    this.log = [];
    this.floors = new Map();
    this.seq = 0;
    this.line = undefined;
  }
  publish(to) {
    const prev = this.log.findLast((event) => event.to === to)?.seq ?? this.floors.get(to) ?? 0;
    const event = { type: "_t.n", time: "t", to, seq: ++this.seq, prev, data: { n: this.seq } };
    this.log.push(event);
    const { line } = this;
    if (line && (line.live.has(root(to)) || (line.live.has("*") && !line.live.has(root(to))))) line.out.push(event);
    return event;
  }
  /** Forgets the oldest of a stream. */
  evict(to) {
    const kept = this.log.filter((event) => event.to === to);
    for (const event of kept.slice(0, Math.ceil(kept.length / 2))) {
      this.floors.set(to, event.seq);
      this.log.splice(this.log.indexOf(event), 1);
    }
  }
  connect(query) {
    const line = (this.line = { out: [], live: new Set(["global"]), sse: query !== undefined });
    line.out.push({ type: "connection.welcome", to: "connection:c", data: { epoch: this.epoch, user_id: "u", heartbeat_interval_ms: 30000, server_time: "t" } });
    for (const implied of ["user:u"]) line.live.add(implied);
    if (query === undefined) return line;
    const names = new URLSearchParams(query);
    const cursor = names.get("cursor");
    line.cursor = cursor ?? `${this.epoch}-${this.seq}`;
    const [head, ...others] = line.cursor.split(",");
    const [epoch, low] = head.split("-");
    const places = new Map(others.map((other) => other.split("=")));
    const wanted = names.get("to")?.split(",") ?? [];
    line.out.push({ type: "connection.subscribed", to: "connection:c", data: { epoch: this.epoch, streams: wanted.map((to) => ({ to, head: this.head(to) })), refused: [] } });
    for (const to of ["global", "user:u", ...wanted]) {
      line.live.add(to);
      if (cursor) this.replay(to, Number(places.get(to) ?? low), epoch);
    }
    return line;
  }
  head(to) {
    return Math.max(0, ...this.log.filter((event) => to === "*" || root(event.to) === to).map(({ seq }) => seq), ...[...this.floors].filter(([stream]) => to === "*" || root(stream) === to).map(([, floor]) => floor));
  }
  replay(to, since, epoch) {
    const { out } = this.line;
    if (since > 0 && epoch !== this.epoch) {
      out.push({ type: "connection.gap", to: "connection:c", data: { stream: to, reason: "epoch_changed" } });
      since = 0;
    }
    out.push({ type: "connection.replaying", to: "connection:c", data: { stream: to, from: since } });
    for (const [stream, floor] of this.floors) if (root(stream) === to && floor > since) out.push({ type: "connection.gap", to: "connection:c", data: { stream, reason: "expired", from_seq: since + 1, to_seq: floor } });
    const events = this.log.filter((event) => root(event.to) === to && event.seq > since);
    out.push(...events);
    out.push({ type: "connection.recovered", to: "connection:c", data: { stream: to, recovered: events.length, upto: this.seq } });
  }
  take(text) {
    const { line } = this;
    const { type, id, data } = JSON.parse(text);
    // Too fast, as a server may find whatever its client counts.
    if (this.random() < 0.05) line.out.push({ type: "connection.error", to: "connection:c", data: { ...(this.random() < 0.5 ? { re: id } : {}), code: "rate_limited", message: "wait", retryable: true, retry_after_ms: 5 } });
    else if (type === "subscribe") {
      line.out.push({ type: "connection.subscribed", to: "connection:c", data: { re: id, epoch: this.epoch, streams: data.streams.map(({ to }) => ({ to, head: this.head(to) })), refused: [] } });
      for (const { to, since } of data.streams) {
        line.live.add(to);
        if (since !== undefined) this.replay(to, since, data.epoch);
      }
    } else if (type === "unsubscribe") {
      for (const { to } of data.streams) if (!["global", "user:u"].includes(to)) line.live.delete(to);
      line.out.push({ type: "connection.unsubscribed", to: "connection:c", data: { re: id, streams: data.streams } });
    } else line.out.push({ type: "connection.pong", to: "connection:c", data: { re: id, server_time: "t" } });
  }
}

function play(seed, steps) {
  const { next, below, pick } = seeded(seed);
  const server = new Server(next);
  const told = [];
  let toServer = [];
  let reopening = false;
  let waiting = false;
  let line;
  let answered = 0;
  let asked = 0;
  let left = 0;
  let gone = 0;
  const core = session(
    {
      send: (text) => toServer.push(text),
      emit: (type, value) => {
        if (type === "*") told.push({ epoch: server.epoch, event: value });
        if (type === "gap") told.push({ epoch: server.epoch, gap: value });
      },
      reopen: () => (reopening = true),
      later: () => (waiting = true),
      take: () => next() < 0.8 || !(waiting = true),
      hold: () => {},
    },
    ROOTS.slice(0, 2).map((to) => ({ to })),
  );
  // The books: what was committed, by epoch; and from where on each root was wanted without a break.
  const committed = [];
  const since = new Map();
  // What was unsubscribed at some time owes nothing; its order and its repetitions are judged all the same.
  const fickle = new Set();
  const cut = () => {
    line = server.line = undefined;
    toServer = [];
    reopening = false;
    core.cut();
  };
  const flush = () => {
    waiting = false;
    core.flush();
  };
  const connect = (sse) => {
    line = server.connect(sse ? core.query() : undefined);
    if (sse) core.begin(line.cursor);
  };
  const hear = () => {
    const frame = line.out.shift();
    core.take(structuredClone(frame), line.sse);
    // A server that says a frame twice. (Of what is no longer wanted nothing is remembered.)
    if (frame.seq && next() < 0.1 && !fickle.has(root(frame.to))) core.take(structuredClone(frame), line.sse);
    // Everything from the answer on must come, whatever happens to the connection.
    if (frame.type === "connection.subscribed") {
      const heads = line.sse ? [...frame.data.streams, ...["global", "user:u"].map((to) => ({ to, head: 0 }))] : frame.data.streams;
      // (An answer that came after a command was refused for its pace, and is asked for again, is not the one that counts.)
      const { positions } = core.checkpoint();
      for (const { to, head } of heads) if (!since.has(to) && positions[to] !== undefined) since.set(to, { epoch: server.epoch, from: line.sse ? Number(/[^-=]*$/.exec(line.cursor.split(",").find((place) => place.startsWith(`${to}=`)) ?? line.cursor.split(",")[0])[0]) : head });
    }
  };
  const settle = () => {
    for (let turn = 0; turn < 10_000; turn += 1) {
      if (!line) connect(next() < 0.5);
      else if (waiting) flush();
      else if (line.out.length) hear();
      else if (toServer.length) server.take(toServer.shift());
      else if (reopening) {
        cut();
        connect(true);
      } else return;
    }
    assert.fail("it does not come to rest");
  };
  for (let step = 0; step < steps; step += 1) {
    const chance = next();
    if (chance < 0.35) {
      const event = server.publish(pick([...ROOTS, "session:shop/agent_only", "global", "user:u", "room:nobody"]));
      committed.push({ epoch: server.epoch, event });
    } else if (chance < 0.7) {
      if (!line) connect(next() < 0.5);
      else if (waiting && next() < 0.3) flush();
      else if (line.out.length) hear();
    } else if (chance < 0.82) {
      if (line && toServer.length) server.take(toServer.shift());
    } else if (chance < 0.88) {
      if (reopening || next() < 0.5) cut();
    } else if (chance < 0.93) {
      asked += 1;
      core.subscribe([{ to: pick(ROOTS) }], () => (answered += 1));
    } else if (chance < 0.95) {
      const to = pick(ROOTS.slice(2));
      fickle.add(to);
      left += 1;
      core.unsubscribe([{ to }], () => (gone += 1));
    } else if (chance < 0.98) server.evict(pick([...ROOTS, "global"]));
    else {
      cut();
      server.restart();
    }
  }
  settle();
  if (line.sse && next() < 0.5) {
    cut();
    settle();
  }

  assert.equal(answered, asked, "every subscribe is answered once");
  assert.equal(gone, left, "every unsubscribe is answered once");
  // Order, and nothing twice.
  const last = new Map();
  for (const { epoch, event } of told) {
    if (!event) continue;
    const key = `${epoch} ${root(event.to)}`;
    assert.ok(event.seq > (last.get(key) ?? 0), `${event.to}: ${event.seq} after ${last.get(key)}`);
    last.set(key, event.seq);
  }
  // Nothing lost: whatever was committed to a wanted root came, or was told as a gap.
  const came = new Set(told.flatMap(({ epoch, event }) => (event ? `${epoch} ${event.seq}` : [])));
  const lost = committed.filter(({ epoch, event }) => {
    const begin = since.get(root(event.to));
    if (!begin || fickle.has(root(event.to)) || came.has(`${epoch} ${event.seq}`)) return false;
    // Before it was wanted.
    const at = server.epochs.indexOf(epoch);
    if (at < server.epochs.indexOf(begin.epoch) || (epoch === begin.epoch && event.seq <= begin.from)) return false;
    const gap = told.some(({ epoch: when, gap }) => {
      if (!gap) return false;
      if (gap.reason === "epoch_changed") return root(gap.stream) === root(event.to) && server.epochs.indexOf(when) > at;
      return gap.stream === event.to && when === epoch && gap.from_seq <= event.seq && event.seq <= gap.to_seq;
    });
    return !gap;
  });
  assert.deepEqual(lost, [], "lost without a word");
  // No false alarm: a gap of numbers names something that did not come, and no hole is seen where the server has none.
  for (const { epoch, gap } of told) {
    // What was unsubscribed and wanted again at once has missed what came between; a hole may say so.
    if (!gap || gap.reason === "epoch_changed" || fickle.has(root(gap.stream))) continue;
    assert.equal(gap.reason, "expired", JSON.stringify(gap));
  }
  return { events: told.filter(({ event }) => event).length, gaps: told.filter(({ gap }) => gap).length };
}

test("random scripts: nothing lost without a word, nothing twice, order kept", (t) => {
  const scripts = Number(process.env.SCRIPTS ?? 2000);
  const first = Number(process.env.SEED ?? Date.now() % 1_000_000);
  let events = 0;
  let gaps = 0;
  for (let seed = first; seed < first + scripts; seed += 1) {
    try {
      const found = play(seed, 40 + (seed % 200));
      events += found.events;
      gaps += found.gaps;
    } catch (error) {
      error.message = `SEED=${seed} SCRIPTS=1: ${error.message}`;
      throw error;
    }
  }
  t.diagnostic(`${scripts} scripts from seed ${first}: ${events} events, ${gaps} gaps`);
  assert.ok(events > scripts * 5 && gaps > scripts / 10, "the scripts do something");
});

/** A session whose commands are written down. `flush` sends what waits; `allow` says whether commands may go. */
function probe(targets, resume) {
  const said = [];
  const events = [];
  const gaps = [];
  const refused = [];
  const held = [];
  const state = { allow: true, reopened: 0 };
  const core = session(
    {
      send: (text) => said.push(JSON.parse(text)),
      emit: (type, value) => ({ "*": events, gap: gaps, refused })[type]?.push(value),
      reopen: () => (state.reopened += 1),
      later() {},
      take: () => state.allow,
      hold: (ms) => held.push(ms),
    },
    targets.map((target) => (typeof target === "string" ? { to: target } : target)),
    resume,
  );
  const take = (type, data, sse = false, more = {}) => core.take({ type, time: "t", to: "connection:c", data, ...more }, sse);
  const welcome = (sse) => take("connection.welcome", { epoch: "0123456789abcdef" }, sse);
  return { core, said, events, gaps, refused, held, state, take, welcome };
}

test("the answer to an unsubscribe forgets nothing that was wanted again before it came", () => {
  const { core, said, take, welcome } = probe(["room:a"]);
  welcome();
  take("connection.subscribed", { re: said[0].id, streams: [{ to: "room:a", head: 3 }], refused: [] });
  core.unsubscribe([{ to: "room:a" }], () => {});
  core.flush();
  core.subscribe([{ to: "room:a" }], () => {});
  core.flush();
  take("connection.unsubscribed", { re: said[1].id, streams: [{ to: "room:a" }] });
  take("connection.subscribed", { re: said[2].id, streams: [{ to: "room:a", head: 5 }], refused: [] });
  assert.deepEqual([core.wanted(), core.checkpoint().positions["room:a"]], [["room:a"], 5]);
  // One that nobody asked for is a permission that was lost.
  take("connection.unsubscribed", { streams: [{ to: "room:a" }] });
  assert.deepEqual(core.wanted(), []);
});

test("what comes without asking resumes where the stream began, also before its first event", () => {
  const { core, said, welcome } = probe([]);
  assert.equal(core.query(), "");
  core.begin("0123456789abcdef-41,global=40");
  welcome(true);
  core.begin("0123456789abcdef-99");
  core.cut();
  assert.equal(new URLSearchParams(core.query()).get("cursor"), "0123456789abcdef-0,global=40");
  core.cut();
  welcome(false);
  assert.deepEqual(said[0].data.streams, [{ to: "global", since: 40 }]);
});

test("what everybody receives hides nothing that lies before it when it comes ahead of the replay", () => {
  const { core, said, events, take, welcome } = probe([]);
  const event = (seq, prev) => take("_t.n", {}, false, { to: "global", seq, prev });
  welcome();
  take("connection.subscribed", { re: said[0].id, streams: [{ to: "global", head: 0 }], refused: [] });
  event(1, 0);
  core.cut();
  welcome();
  event(5, 3);
  take("connection.subscribed", { re: said[1].id, streams: [{ to: "global", head: 5 }], refused: [] });
  event(3, 1);
  event(5, 3);
  assert.deepEqual(events.map(({ seq }) => seq), [1, 3, 5]);
});

test("a hole in the numbers is told before the event that shows it, and a lost tail by the heartbeat", () => {
  const { said, gaps, events, take, welcome } = probe(["room:a"]);
  const beat = (seq) => take("connection.heartbeat", { positions: [{ to: "room:a", seq }] });
  welcome();
  take("connection.subscribed", { re: said[0].id, streams: [{ to: "room:a", head: 2 }], refused: [] });
  take("_t.n", {}, false, { to: "room:a", seq: 3, prev: 2 });
  take("_t.n", {}, false, { to: "room:a", seq: 7, prev: 5 });
  assert.deepEqual(gaps, [{ to: "room:a", stream: "room:a", reason: "hole", from_seq: 4, to_seq: 5 }]);
  assert.deepEqual(events.map(({ seq }) => seq), [3, 7]);
  beat(7);
  beat(7);
  assert.equal(gaps.length, 1);
  beat(9);
  assert.deepEqual(gaps[1], { to: "room:a", stream: "room:a", reason: "hole", from_seq: 8, to_seq: 9 });
});

test("a gap of everything, or of a root, excuses the holes of the streams under it and of no other", () => {
  const { said, gaps, take, welcome } = probe(["*", "room:a"]);
  const event = (to, seq, prev) => take("_t.n", {}, false, { to, seq, prev });
  welcome();
  take("connection.subscribed", { re: said[0].id, streams: ["*", "room:a", "global"].map((to) => ({ to, head: 0 })), refused: [] });
  for (const [seq, to] of ["adw:aaaaaaaa", "adw:aaaaaaaa/raw", "room:a", "room:a/raw", "global"].entries()) event(to, seq + 1, 0);
  const told = (stream, to_seq) => {
    gaps.length = 0;
    take("connection.gap", { stream, reason: "slow_consumer", from_seq: 1, to_seq });
    assert.equal(gaps.pop().stream, stream);
  };
  told("*", 10);
  event("adw:aaaaaaaa", 11, 10);
  event("adw:aaaaaaaa/raw", 12, 9);
  assert.deepEqual(gaps, []);
  event("global", 13, 8);
  assert.deepEqual(gaps, [{ to: "global", stream: "global", reason: "hole", from_seq: 6, to_seq: 8 }]);
  told("room:a", 20);
  event("room:a/raw", 21, 20);
  assert.deepEqual(gaps, []);
  event("adw:aaaaaaaa", 22, 18);
  event("room:a", 25, 23);
  assert.deepEqual(gaps.map(({ to, stream, from_seq, to_seq }) => [to, stream, from_seq, to_seq]), [["*", "adw:aaaaaaaa", 12, 18], ["room:a", "room:a", 21, 23]]);
});

test("a gap for a reason that this version does not know is one of what expired", () => {
  const { gaps, take, welcome } = probe(["room:a"]);
  welcome();
  for (const reason of ["expired", "slow_consumer", "epoch_changed", "eaten"]) take("connection.gap", { stream: "room:a", reason, from_seq: 1, to_seq: 2 });
  assert.deepEqual(gaps.map(({ reason }) => reason), ["expired", "slow_consumer", "epoch_changed", "expired"]);
});

test("what still came before a target was wanted anew is no beginning of its numbers", () => {
  const { core, said, gaps, events, take, welcome } = probe(["room:a"]);
  const event = (seq, prev) => take("_t.n", {}, false, { to: "room:a", seq, prev });
  welcome();
  take("connection.subscribed", { re: said[0].id, streams: [{ to: "room:a", head: 3 }], refused: [] });
  core.unsubscribe([{ to: "room:a" }], () => {});
  core.flush();
  core.subscribe([{ to: "room:a" }], () => {});
  core.flush();
  event(4, 3);
  take("connection.unsubscribed", { re: said[1].id, streams: [{ to: "room:a" }] });
  take("connection.subscribed", { re: said[2].id, streams: [{ to: "room:a", head: 6 }], refused: [] });
  event(7, 6);
  assert.deepEqual([gaps, events.map(({ seq }) => seq)], [[], [4, 7]]);
  event(9, 8);
  assert.equal(gaps.length, 1);
});

test("changes of one moment are one command, and what is wanted again before it went out costs nothing", () => {
  const { core, said, events, take, welcome } = probe(["room:a"]);
  const answers = [];
  welcome();
  take("connection.subscribed", { re: said[0].id, streams: [{ to: "room:a", head: 3 }], refused: [] });
  said.length = 0;
  const rows = Array.from({ length: 100 }, (_, index) => `room:row-${index}`);
  for (const to of rows) core.subscribe([{ to }], (answer) => answers.push(answer));
  assert.deepEqual(said, []);
  core.flush();
  assert.deepEqual(said.map(({ type, data }) => [type, data.streams.map(({ to }) => to)]), [["subscribe", rows]]);
  take("connection.subscribed", { re: said[0].id, streams: rows.map((to) => ({ to, head: 3 })), refused: [] });
  assert.equal(answers.length, 100);
  // Rows that go, and one that goes and comes back.
  for (const to of [...rows, "room:a"]) core.unsubscribe([{ to }], (answer) => answers.push(answer));
  core.subscribe([{ to: "room:a" }], (answer) => answers.push(answer));
  core.flush();
  assert.deepEqual(said.slice(1).map(({ type, data }) => [type, data.streams.map(({ to }) => to)]), [["unsubscribe", rows]]);
  assert.equal(answers.length, 101, "what is received still is answered at once");
  assert.deepEqual(core.wanted(), ["room:a"]);
  take("connection.unsubscribed", { re: said[1].id, streams: rows.map((to) => ({ to })) });
  assert.equal(answers.length, 202);
  take("_t.n", {}, false, { to: "room:a", seq: 4, prev: 3 });
  assert.deepEqual([events.length, core.checkpoint().positions["room:a"]], [1, 4]);
});

test("commands that are not allowed yet wait, together, and go in the order: what makes room, what is wanted, the rest", () => {
  const { core, said, state, take, welcome } = probe(["room:a"]);
  welcome();
  take("connection.subscribed", { re: said[0].id, streams: [{ to: "room:a", head: 3 }], refused: [] });
  said.length = 0;
  state.allow = false;
  core.command("ping", undefined, () => {});
  core.flush();
  core.subscribe([{ to: "room:b" }], () => {});
  core.flush();
  core.subscribe([{ to: "room:c" }], () => {});
  core.unsubscribe([{ to: "room:a" }], () => {});
  core.flush();
  assert.deepEqual(said, []);
  // It is received until the server learns that it is not wanted.
  take("_t.n", {}, false, { to: "room:a", seq: 4, prev: 3 });
  state.allow = true;
  core.flush();
  assert.deepEqual(said.map(({ type, data }) => [type, data?.streams?.map(({ to }) => to)]), [["unsubscribe", ["room:a"]], ["subscribe", ["room:b", "room:c"]], ["ping", undefined]]);
});

for (const named of [true, false]) {
  test(`commands that came too fast go out again when the server says, and no call is rejected; the error names the command: ${named}`, () => {
    const { core, said, held, take, welcome } = probe(["room:a"]);
    const answers = [];
    welcome();
    const limited = (command) => take("connection.error", { ...(named ? { re: command.id } : {}), code: "rate_limited", message: "wait", retryable: true, retry_after_ms: 40 });
    limited(said[0]);
    core.flush();
    core.command("ping", undefined, ({ type }) => answers.push(type));
    core.flush();
    assert.deepEqual([held, said.map(({ type }) => type)], [[40], ["subscribe", "subscribe", "ping"]]);
    assert.deepEqual(said[1].data, said[0].data);
    take("connection.subscribed", { re: said[1].id, streams: [{ to: "room:a", head: 3 }, { to: "global", head: 0 }], refused: [] });
    limited(said[2]);
    core.flush();
    assert.deepEqual([said[3].type, said[3].id], ["ping", said[2].id]);
    take("connection.pong", { re: said[3].id });
    assert.deepEqual(answers, ["connection.pong"]);
    // An unsubscribe, of which half is wanted again before the server refuses it.
    core.subscribe([{ to: "room:b" }], () => {});
    core.flush();
    take("connection.subscribed", { re: said[4].id, streams: [{ to: "room:b", head: 3 }], refused: [] });
    core.unsubscribe([{ to: "room:a" }, { to: "room:b" }], ({ type }) => answers.push(type));
    core.flush();
    core.subscribe([{ to: "room:b" }], () => {});
    core.flush();
    limited(said[5]);
    core.flush();
    assert.deepEqual(said.slice(5).map(({ type, data }) => [type, data.streams.map(({ to }) => to)]), [["unsubscribe", ["room:a", "room:b"]], ["subscribe", ["room:b"]], ["unsubscribe", ["room:a"]], ["subscribe", ["room:b"]]]);
    take("connection.unsubscribed", { re: said[7].id, streams: [{ to: "room:a" }] });
    assert.deepEqual(answers, ["connection.pong", "connection.unsubscribed"]);
    assert.deepEqual(core.wanted(), ["room:b"]);
  });
}

test("a target may begin after a number from the start; what is kept of a checkpoint counts more", () => {
  const { core, said, welcome } = probe([{ to: "room:a", since: 0 }, { to: "room:b", since: 0 }, "room:c"], { epoch: "0123456789abcdef", positions: { "room:b": 7 } });
  welcome();
  assert.deepEqual(said[0].data.streams, [{ to: "room:b", since: 7 }, { to: "room:a", since: 0 }, { to: "room:c" }, { to: "global" }]);
  assert.deepEqual(core.wanted(), ["room:b", "room:a", "room:c"]);
});

test("several that want one target from different numbers in one moment get it from the lowest", () => {
  const { core, said, events, take, welcome } = probe(["room:a"]);
  welcome();
  take("connection.subscribed", { re: said[0].id, streams: [{ to: "room:a", head: 0 }], refused: [] });
  take("_t.n", {}, false, { to: "room:a", seq: 40, prev: 0 });
  for (const since of [50, 20, 30]) core.subscribe([{ to: "room:a", since }], () => {});
  core.flush();
  assert.deepEqual(said[1].data.streams, [{ to: "room:a", since: 20 }]);
  core.subscribe([{ to: "room:b", since: 9 }], () => {});
  core.subscribe([{ to: "room:b", since: 12 }], () => {});
  core.flush();
  assert.deepEqual(said[2].data.streams, [{ to: "room:b", since: 9 }]);
  assert.equal(events.length, 1);
});

test("a gap names the target that it concerns, also where a part of it is missing or the history is another one", () => {
  const { core, gaps, said, take, welcome } = probe(["adw:aaaaaaaa"]);
  welcome();
  take("connection.subscribed", { re: said[0].id, streams: [{ to: "adw:aaaaaaaa", head: 3 }], refused: [] });
  take("connection.gap", { stream: "adw:aaaaaaaa/raw", reason: "expired", from_seq: 1, to_seq: 2 });
  core.cut();
  take("connection.welcome", { epoch: "fedcba9876543210" });
  assert.deepEqual(gaps.map(({ to, stream, reason }) => [to, stream, reason]), [["adw:aaaaaaaa", "adw:aaaaaaaa/raw", "expired"], ["adw:aaaaaaaa", "adw:aaaaaaaa", "epoch_changed"]]);
});

test("an error on a stream that names a target is its refusal, told once", () => {
  for (const listed of [true, false]) {
    const { core, refused, take, welcome } = probe(["adw:aaaaaaaa", "room:a"]);
    core.query();
    welcome(true);
    const target = { to: "room:a", code: "forbidden", message: "not yours" };
    take("connection.subscribed", { streams: [{ to: "adw:aaaaaaaa", head: 0 }], refused: listed ? [target] : [] }, true);
    take("connection.error", { code: "forbidden", message: "not yours", retryable: false, details: { to: "room:a" } }, true);
    assert.deepEqual([refused, core.wanted()], [[target], ["adw:aaaaaaaa"]]);
  }
});

test("while a target is asked for from an earlier number, the end of an older replay and a heartbeat do not pass over it", () => {
  const { core, said, events, gaps, take, welcome } = probe(["room:a"]);
  const event = (seq, prev) => take("_t.n", {}, false, { to: "room:a", seq, prev });
  welcome();
  take("connection.subscribed", { re: said[0].id, streams: [{ to: "room:a", head: 3 }], refused: [] });
  take("connection.heartbeat", { positions: [{ to: "room:a", seq: 3 }] });
  core.subscribe([{ to: "room:a", since: 0 }], () => {});
  core.flush();
  event(4, 3);
  take("connection.heartbeat", { positions: [{ to: "room:a", seq: 4 }] });
  take("connection.recovered", { stream: "room:a", recovered: 1, upto: 4 });
  take("connection.subscribed", { re: said[1].id, streams: [{ to: "room:a", head: 4 }], refused: [] });
  for (let seq = 1; seq <= 4; seq += 1) event(seq, seq - 1);
  assert.deepEqual([events.map(({ seq }) => seq), gaps], [[1, 2, 3, 4], []]);
});
