import assert from "node:assert/strict";
import { test } from "node:test";
import { audience, build, parseRaw, publication, redacted, sinceOf } from "../commands.js";

const form = (command, over = {}) => ({ command, id: "c1", targets: [], epoch: "00ff00ff00ff00ff", ...over });
const target = (kind, id, since = "") => ({ kind, id, since });

test("audiences are checked before they are sent", () => {
  assert.equal(audience("adw", "29fb6a3e"), "adw:29fb6a3e");
  assert.equal(audience("*", "ignored"), "*");
  assert.equal(audience("global", ""), "global");
  assert.throws(() => audience("adw", "29fb6a3"), /exactly 8/);
  assert.throws(() => audience("adw", "../../ab"), /exactly 8/);
  assert.throws(() => audience("room", "a b"), /1 to 128/);
  assert.throws(() => audience("room", "x".repeat(129)), /1 to 128/);
  assert.throws(() => audience("constructor", "x"), /unknown audience kind/);
});

test("a subscription from a point in the past names its epoch", () => {
  assert.deepEqual(build(form("subscribe", { targets: [target("adw", " 29fb6a3e ", "120"), target("room", "tasks")] })), {
    type: "subscribe", id: "c1", data: { epoch: "00ff00ff00ff00ff", streams: [{ to: "adw:29fb6a3e", since: 120 }, { to: "room:tasks" }] },
  });
  assert.deepEqual(build(form("subscribe", { targets: [target("*", "")] })).data, { streams: [{ to: "*" }] });
  assert.deepEqual(build(form("unsubscribe", { targets: [target("*", "", "5")] })).data, { streams: [{ to: "*" }] });
  assert.throws(() => build(form("subscribe")), /at least one/);
});

test("a position is a whole number that JSON carries exactly", () => {
  assert.equal(sinceOf(" "), undefined);
  assert.equal(sinceOf("0"), 0);
  for (const bad of ["-1", "1.5", "1e3", "9007199254740993", "x"]) assert.throws(() => sinceOf(bad), /not a whole number/);
});

test("ping carries what it was given", () => {
  assert.deepEqual(build(form("ping", { clientTime: 5 })), { type: "ping", id: "c1", data: { client_time: 5 } });
  assert.deepEqual(build(form("ping")).data, {});
});

test("raw text must be a command, and says where it is not", () => {
  assert.equal(parseRaw('{ "type": "ping" }').text, '{"type":"ping"}');
  assert.throws(() => parseRaw("{"), /not JSON/);
  assert.throws(() => parseRaw("[]"), /JSON object/);
  assert.throws(() => parseRaw("{}"), /needs a "type"/);
});

test("a token is never shown", () => {
  const command = { type: "authenticate", data: { token: "s3cret" } };
  assert.ok(!JSON.stringify(redacted(command)).includes("s3cret"));
  assert.equal(command.data.token, "s3cret", "what is sent is not changed");
  assert.deepEqual(redacted({ type: "ping", data: {} }), { type: "ping", data: {} });
});

test("a publication is checked before it is sent", () => {
  assert.deepEqual(publication({ type: "adw.text_block", to: "adw:29fb6a3e", data: '{"a":1}' }), { type: "adw.text_block", to: "adw:29fb6a3e", data: { a: 1 } });
  assert.equal(publication({ type: "_mine.thing", to: "global", data: "{}" }).type, "_mine.thing");
  assert.throws(() => publication({ type: "text block", to: "global", data: "{}" }), /not an event type/);
  assert.throws(() => publication({ type: "a.b", to: "", data: "{}" }), /needs an audience/);
  assert.throws(() => publication({ type: "a.b", to: "global", data: "[1]" }), /JSON object/);
});
