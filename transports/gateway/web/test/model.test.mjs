import assert from "node:assert/strict";
import { test } from "node:test";
import {
  adwOf, bytes, clientName, clock, covers, decode, duration, eventEntry, familyOf, gapSentence, isFiltered, markEntry, matcher, money, newConnection, NO_FILTER, oneLine,
  Rate, reduceConnection, summarize, Tail, TailView, toneOf, visible,
} from "../model.js";

const frame = (seq, over = {}) => ({ type: "adw.text_block", time: "2026-11-20T23:40:01.123456Z", to: "adw:29fb6a3e", seq, prev: seq - 1, data: { adw_id: "29fb6a3e", content: `event ${seq}` }, ...over });
const entry = (seq, over = {}, epoch = "e1") => {
  const made = frame(seq, over);
  return eventEntry(made, JSON.stringify(made), epoch);
};
const seqs = (rows) => rows.map((row) => row.seq);

test("decode says what is wrong instead of throwing", () => {
  assert.match(decode("{").error, /not JSON/);
  assert.match(decode("[]").error, /not an object/);
  assert.match(decode("null").error, /not an object/);
  assert.match(decode("{}").error, /without "type"/);
  assert.deepEqual(decode('{"type":"x.y","data":null}').frame.data, {});
});

test("family and ADW come from type, audience and payload", () => {
  assert.equal(familyOf("adw.text_block"), "adw");
  assert.equal(familyOf("_vendor.thing.more"), "_vendor");
  assert.equal(familyOf("odd"), "odd");
  assert.equal(adwOf(frame(1)), "29fb6a3e");
  assert.equal(adwOf(frame(1, { to: "adw:29fb6a3e/raw" })), "29fb6a3e");
  assert.equal(adwOf({ to: "global", data: { adw_id: "abcd1234" } }), "abcd1234");
  assert.equal(adwOf({ to: "global", data: { adw_id: "../../etc" } }), null);
  assert.equal(adwOf({ to: "room:tasks", data: {} }), null);
});

test("a subscription covers its sub-audiences, and the star everything but connections", () => {
  assert.ok(covers("adw:29fb6a3e", "adw:29fb6a3e/raw"));
  assert.ok(!covers("adw:29fb6a3e", "adw:29fb6a3f"));
  assert.ok(!covers("room:a", "room:ab"));
  assert.ok(covers("*", "global"));
  assert.ok(!covers("*", "connection:c1"));
});

test("text for one line cannot break out of it", () => {
  assert.equal(oneLine("a\n\n  b\tc"), "a b c");
  assert.equal(visible("a\u202Eb"), "a<U+202E>b");
  assert.equal(visible("\u001b[31m"), "\u241b[31m");
  assert.equal(oneLine("x".repeat(500), 10), "x".repeat(10) + "…");
  // Cut before, never inside, a surrogate pair.
  assert.equal(oneLine("a\u{1f600}b", 2), "a…");
});

test("a hostile event is summarized as its own text", () => {
  const hostile = "<img src=x onerror=\"document.title='owned'\">";
  assert.equal(summarize(frame(1, { data: { content: hostile } })), hostile);
  assert.equal(summarize(frame(1, { type: "_x.y", data: { a: hostile } })), JSON.stringify({ a: hostile }));
});

test("summaries survive payloads of any shape", () => {
  for (const type of ["adw.tool_use_pre", "adw.tool_use_post", "adw.file_changed", "adw.agent_log", "adw.agent_output_chunk", "adw.workflow_phase_transition",
    "adw.agent_summary_update", "connection.gap", "connection.subscribed", "connection.error", "connection.heartbeat", "__proto__.x", "constructor"]) {
    for (const data of [{}, { input: null, content: 7, streams: "no", refused: [null, 3] }, { input: { todos: 3 }, success: "yes", duration_ms: "soon" }]) {
      assert.equal(typeof summarize({ type, data }), "string");
      assert.equal(typeof toneOf({ type, data }), "string");
    }
  }
});

test("both spellings of a failed tool call are failures", () => {
  assert.equal(toneOf(frame(1, { type: "adw.tool_use_post", data: { success: false } })), "bad");
  assert.equal(toneOf(frame(1, { type: "adw.tool_use_post", data: { status: "error" } })), "bad");
  assert.equal(toneOf(frame(1, { type: "adw.tool_use_post", data: { success: true, error: null } })), "");
});

test("durations, sizes, sums of money and times are short", () => {
  assert.deepEqual([money(0.46664715), money(0), money(null), money(Number.NaN)], ["$0.4666", "$0.0000", "", ""]);
  assert.equal(duration(35), "35 ms");
  assert.equal(duration(999.7), "1.0 s");
  assert.equal(duration(4200), "4.2 s");
  assert.equal(duration(59_960), "1 m 00 s");
  assert.equal(duration(187_000), "3 m 07 s");
  assert.equal(duration(7_500_000), "2 h 05 m");
  assert.equal(duration(Number.NaN), "");
  assert.equal(bytes(812), "812 B");
  assert.equal(bytes(3400), "3.4 kB");
  assert.match(clock("2026-11-20T23:40:01.123456Z"), /^\d\d:\d\d:01\.123$/);
  assert.equal(clock("not a time"), "not a time");
  assert.equal(clock(undefined), "");
});

test("a gap says which events are missing and why", () => {
  assert.equal(gapSentence({ stream: "adw:29fb6a3e", reason: "expired", from_seq: 3, to_seq: 9 }), "adw:29fb6a3e: seq 3 to 9 cannot be replayed, the history no longer keeps them");
  assert.match(gapSentence({ stream: "*", reason: "epoch_changed" }), /new history/);
  assert.match(gapSentence({}), /no reason given/);
});

test("the tail keeps the newest entries and says how many it let go", () => {
  const tail = new Tail({ maxEntries: 3 });
  for (let seq = 1; seq <= 5; seq += 1) tail.push(entry(seq));
  tail.trim();
  assert.deepEqual(seqs(tail.entries), [3, 4, 5]);
  assert.equal(tail.dropped, 2);
});

test("large frames push older ones out before the number is reached, the newest always stays", () => {
  const tail = new Tail({ maxEntries: 100, maxCharacters: 1000 });
  tail.push(entry(1));
  tail.push(entry(2, { data: { content: "x".repeat(5000) } }));
  tail.trim();
  assert.deepEqual(seqs(tail.entries), [2]);
  assert.equal(tail.characters, tail.entries[0].text.length);
});

test("a logged event arrives once, however often it is sent, but a seq of another epoch is another event", () => {
  const tail = new Tail();
  assert.equal(tail.push(entry(7)), true);
  assert.equal(tail.push(entry(7)), false);
  assert.equal(tail.push(entry(7, {}, "e2")), true);
  assert.equal(tail.push(entry(null, { seq: undefined })), true);
  assert.equal(tail.push(entry(null, { seq: undefined })), true);
});

test("replayed events stand before the live ones that overtook them", () => {
  const tail = new Tail();
  for (const seq of [50, 51]) tail.push(entry(seq));
  tail.push(markEntry("gap", "something", "gap", ""));
  for (const seq of [10, 11, 52]) tail.push(entry(seq));
  assert.deepEqual(seqs(tail.entries).filter((seq) => seq !== null), [10, 11, 50, 51, 52]);
});

test("filters compare family, type and ADW exactly and text in any case", () => {
  const rows = [
    entry(1), entry(2, { type: "adw.tool_use_pre", data: { tool_name: "Read", input: { file_path: 'a "quoted" name' } } }),
    entry(3, { type: "chat.fragment", to: "session:s1", data: { content: "Grüße" } }), entry(4, { to: "adw:other123", data: {} }),
  ];
  const pass = (filter) => seqs(rows.filter(matcher({ ...NO_FILTER, ...filter })));
  assert.deepEqual(pass({}), [1, 2, 3, 4]);
  assert.deepEqual(pass({ family: "adw" }), [1, 2, 4]);
  assert.deepEqual(pass({ type: "adw.tool_use_pre" }), [2]);
  assert.deepEqual(pass({ adw: "29fb6a3e" }), [1, 2]);
  assert.deepEqual(pass({ text: "EVENT 1" }), [1]);
  assert.deepEqual(pass({ text: '"quoted"' }), [2], "quotes are found although JSON escapes them");
  assert.deepEqual(pass({ text: "grüße" }), [3]);
  assert.deepEqual(pass({ family: "adw", text: "read", adw: "29fb6a3e" }), [2]);
  assert.deepEqual(pass({ text: ".*" }), [], "text is text, not a pattern");
});

test("housekeeping of this connection is hidden until asked for, its news never", () => {
  const own = (type) => entry(null, { type, to: "connection:c1", seq: undefined, data: {} });
  const rows = [own("connection.heartbeat"), own("connection.error"), own("connection.subscribed")];
  const pass = (filter) => rows.filter(matcher({ ...NO_FILTER, ...filter })).map((row) => row.type);
  assert.deepEqual(pass({}), ["connection.error"]);
  assert.equal(pass({ own: true }).length, 3);
  assert.equal(pass({ family: "connection" }).length, 3);
  assert.deepEqual(pass({ type: "connection.heartbeat" }), ["connection.heartbeat"]);
});

test("verbatim agent output is left out, asking for it or for its type brings it back", () => {
  const chunk = entry(1, { type: "adw.agent_output_chunk", to: "adw:29fb6a3e/raw" });
  assert.equal(matcher(NO_FILTER)(chunk), false);
  assert.equal(matcher({ ...NO_FILTER, raw: true })(chunk), true);
  assert.equal(matcher({ ...NO_FILTER, type: "adw.agent_output_chunk" })(chunk), true);
  assert.equal(isFiltered(NO_FILTER), false);
  const tail = new Tail();
  for (const each of [chunk, entry(2)]) tail.push(each);
  assert.equal(tail.raw, 1);
});

test("what says that something failed is never shown as good, whatever else it says", () => {
  const failures = [
    ["adw.tool_use_post", { success: true, is_error: true }],
    ["adw.tool_use_post", { success: true, error: "exit 2" }],
    ["adw.tool_use_post", { success: true, status: "Failed" }],
    ["adw.agent_log", { level: "SUCCESS", payload: { is_error: true } }],
    ["adw.agent_log", { level: "SUCCESS", payload: { subtype: "success", success: false } }],
    ["adw.agent_summary_update", { status: "completed", metadata: { is_error: true } }],
    ["adw.summary_update", { content: "limit", metadata: { is_error: true } }],
    ["adw.status_update", { status: "failed" }],
    ["metrics.tool_executed", { success: false }],
    ["connection.subscribed", { streams: [{ to: "room:a", head: 3 }], refused: [{ to: "room:b", code: "forbidden" }] }],
  ];
  for (const [type, data] of failures) assert.equal(toneOf(frame(1, { type, data })), "bad", JSON.stringify([type, data]));
  assert.equal(toneOf(frame(1, { type: "adw.agent_log", data: { level: "SUCCESS", payload: { is_error: false } } })), "good");
  assert.equal(toneOf(frame(1, { type: "adw.agent_summary_update", data: { status: "completed" } })), "good");
});

test("a rate is per second of the time observed, and no rate before a second is over", () => {
  const rate = new Rate();
  rate.start(10_000);
  for (let i = 0; i < 10; i += 1) rate.add(10_000 + 100 * i);
  assert.equal(rate.perSecond(10_900), null);
  assert.equal(rate.perSecond(12_000), 5);
  assert.equal(rate.perSecond(14_000), 2.5);
  assert.equal(rate.perSecond(60_000), 0);
  for (let i = 0; i < 500; i += 1) rate.add(60_000 + 10 * i);
  assert.ok(Math.abs(rate.perSecond(65_000) - 100) < 6, String(rate.perSecond(65_000)));
  rate.start(70_000);
  assert.equal(rate.perSecond(72_000), 0, "what came before is not counted");
});

test("older events go to the front, once each, and the tail says how far back it reaches", () => {
  const tail = new Tail({ maxEntries: 4 });
  assert.equal(tail.before("e1"), null, "nothing was seen: there is nothing to ask for");
  tail.push(markEntry("note", "connected", "info", ""));
  for (const seq of [7, 8, 9]) tail.push(entry(seq));
  assert.deepEqual([tail.reach.seq, tail.before("e1"), tail.before("e2")], [7, 7, null]);
  assert.equal(tail.prepend([3, 5, 7].map((seq) => entry(seq)), { from: 2 }), 2);
  assert.deepEqual(seqs(tail.entries), [3, 5, null, 7, 8, 9]);
  assert.deepEqual([tail.reach.seq, tail.before("e1")], [3, 2], "2 was asked for, and nothing was there");
  tail.trim();
  assert.equal(tail.entries.length, 6, "there is room for what was read on purpose");
  assert.equal(tail.prepend([], { from: 1, complete: true }), 0);
  assert.equal(tail.before("e1"), null);
  tail.clear();
  assert.deepEqual([tail.reach, tail.before("e1")], [null, 10], "after clearing, what was cleared can be read again");
});

test("the view shows older events through its filter", () => {
  const tail = new Tail();
  const view = new TailView(tail, { text: "event 3" });
  for (const seq of [7, 8]) tail.push(entry(seq));
  view.sync();
  assert.deepEqual(seqs(view.rows), []);
  tail.prepend([2, 3].map((seq) => entry(seq)));
  view.sync();
  assert.deepEqual(seqs(view.rows), [3]);
});

test("a gap passes every filter except that of another ADW", () => {
  const gap = markEntry("gap", "missing", "gap", "", null, "29fb6a3e");
  assert.equal(matcher({ ...NO_FILTER, type: "chat.fragment", text: "nothing" })(gap), true);
  assert.equal(matcher({ ...NO_FILTER, adw: "29fb6a3e" })(gap), true);
  assert.equal(matcher({ ...NO_FILTER, adw: "other123" })(gap), false);
});

test("the view follows the tail step by step and equals a fresh filtering", () => {
  const tail = new Tail({ maxEntries: 40 });
  const view = new TailView(tail, { adw: "29fb6a3e" });
  for (let seq = 1; seq <= 200; seq += 1) {
    tail.push(entry(seq, seq % 3 === 0 ? { to: "adw:other123" } : {}));
    if (seq % 7 === 0) {
      tail.trim();
      view.sync();
      assert.deepEqual(view.rows, tail.entries.filter(matcher(view.filter)), `after ${seq}`);
    }
  }
});

test("the view reports what left at the front, so that reading further up is not disturbed", () => {
  const tail = new Tail({ maxEntries: 5 });
  const view = new TailView(tail);
  for (let seq = 1; seq <= 5; seq += 1) tail.push(entry(seq));
  view.sync();
  for (let seq = 6; seq <= 8; seq += 1) tail.push(entry(seq));
  tail.trim();
  assert.deepEqual(view.sync(), { removed: 3, added: 3, reset: false });
  assert.deepEqual(seqs(view.rows), [4, 5, 6, 7, 8]);
});

test("more than the tail holds between two looks is no trouble", () => {
  const tail = new Tail({ maxEntries: 4 });
  const view = new TailView(tail);
  view.sync();
  for (let seq = 1; seq <= 50; seq += 1) tail.push(entry(seq));
  tail.trim();
  view.sync();
  assert.deepEqual(seqs(view.rows), [47, 48, 49, 50]);
});

test("a paused view stands still, counts what waits, and catches up", () => {
  const tail = new Tail({ maxEntries: 3 });
  const view = new TailView(tail);
  for (const seq of [1, 2, 3]) tail.push(entry(seq));
  view.sync();
  view.pause();
  for (const seq of [4, 5]) tail.push(entry(seq));
  tail.trim();
  view.sync();
  assert.deepEqual(seqs(view.rows), [1, 2, 3]);
  assert.equal(view.waiting, 2);
  view.setFilter({ text: "event 2" });
  view.sync();
  assert.deepEqual(seqs(view.rows), [2], "filters work on the still picture");
  view.setFilter(NO_FILTER);
  view.resume();
  view.sync();
  assert.deepEqual(seqs(view.rows), [3, 4, 5]);
});

test("clearing forgets the entries and lets the same events come again", () => {
  const tail = new Tail();
  const view = new TailView(tail);
  tail.push(entry(1));
  view.sync();
  tail.clear();
  view.sync();
  assert.equal(view.rows.length, 0);
  assert.equal(tail.push(entry(1)), true);
});

test("the connection's state follows its own frames", () => {
  const take = (state, type, data) => reduceConnection(state, { type, data });
  let state = take(newConnection(), "connection.welcome", { connection_id: "c1", epoch: "e1", server: "eventwire", permissions: ["observe"] });
  assert.equal(state.id, "c1");
  state = take(state, "connection.subscribed", { streams: [{ to: "*" }, { to: "adw:29fb6a3e" }] });
  state = take(state, "connection.subscribed", { streams: [{ to: "*" }] });
  assert.deepEqual(state.subscriptions, ["*", "adw:29fb6a3e"]);
  state = take(state, "connection.unsubscribed", { streams: [{ to: "*" }] });
  assert.deepEqual(state.subscriptions, ["adw:29fb6a3e"]);
  assert.equal(take(state, "adw.text_block", {}), state);
  assert.deepEqual(take(state, "connection.welcome", { connection_id: "c2", epoch: "e1" }).subscriptions, []);
});

test("a client has a short name", () => {
  for (const [agent, name] of [
    ["Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36", "Chrome 131"],
    ["Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0", "Edge 131"],
    ["Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15", "Safari 17"],
    ["Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox 128"],
    ["eventwire-python/0.1.0 CPython/3.11", "eventwire-python/0.1.0"],
    ["curl/8.5.0", "curl/8.5.0"],
  ]) assert.equal(clientName(agent), name);
});
