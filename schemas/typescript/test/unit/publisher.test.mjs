// The publisher against a server that answers what the test says.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, test } from "node:test";

import { MAX_EVENT_BYTES, Publisher } from "../../dist/publisher.js";

const note = (n, more = {}) => ({ type: "_test.note", to: "room:tasks", data: { n }, ...more });
const QUICK = { backoff: { minDelay: 1, maxDelay: 5 } };
const servers = [];
after(() => servers.forEach((server) => server.closeAllConnections() ?? server.close()));

/** A server that answers each request with the next of `answers`; the last one stays. Without an answer it cuts the connection. */
async function scripted(...answers) {
  const requests = [];
  const server = createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", async () => {
      const body = JSON.parse(Buffer.concat(parts));
      requests.push({ body, headers: request.headers, url: request.url });
      const answer = answers.length > 1 ? answers.shift() : answers[0];
      const { status, headers = {}, text } = (await answer(body)) ?? {};
      if (status === undefined) return request.socket.destroy();
      response.writeHead(status, { "content-type": "application/json", ...headers }).end(text);
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  servers.push(server);
  return { url: `http://127.0.0.1:${server.address().port}`, requests };
}

let seq = 0;
const results = (make) => (events) => ({ status: 202, text: JSON.stringify({ results: events.map(make) }) });
const takes = results((event) => ({ type: event.type, to: event.to, seq: (seq += 1) }));
const fails = (status, code, more = {}, headers = {}) => () => ({ status, headers, text: JSON.stringify({ error: { code, message: "no", ...more } }) });
const cuts = () => undefined;

test("an event gets an id, and its receipt names it", async () => {
  const { url, requests } = await scripted(takes);
  const publisher = new Publisher(`${url}/`);
  const receipt = await publisher.publish(note(1));
  assert.deepEqual({ ...receipt, seq: 0 }, { type: "_test.note", to: "room:tasks", id: requests[0].body[0].id, seq: 0 });
  assert.match(receipt.id, /^[0-9a-f-]{36}$/);
  assert.equal(requests[0].url, "/v1/events");
  assert.equal((await publisher.publish(note(2, { id: "mine" }))).id, "mine");
});

test("calls of one tick share a request, and 1,000 events are the most of one; order is kept", async () => {
  const { url, requests } = await scripted(takes);
  const publisher = new Publisher(url);
  const outcomes = await publisher.publishAll(Array.from({ length: 2_500 }, (_, n) => note(n)));
  assert.deepEqual(requests.map(({ body }) => body.length), [1_000, 1_000, 500]);
  assert.deepEqual(requests.flatMap(({ body }) => body.map((event) => event.data.n)), Array.from({ length: 2_500 }, (_, n) => n));
  assert.equal(outcomes.length, 2_500);
  await Promise.all([publisher.publish(note(1)), publisher.publish(note(2))]);
  assert.equal(requests.length, 4);
});

test("a request has at most 8 MiB", async () => {
  const { url, requests } = await scripted(takes);
  const large = "x".repeat(1_000_000);
  await new Publisher(url).publishAll(Array.from({ length: 12 }, (_, n) => note(n, { data: { large } })));
  assert.deepEqual(requests.map(({ body }) => body.length), [8, 4]);
});

for (const [what, first] of [
  ["a lost answer", cuts],
  ["503", fails(503, "unavailable", { retryable: true })],
  ["429", fails(429, "rate_limited", { retryable: true, retry_after_ms: 5 })],
  ["a proxy without its server", () => ({ status: 502, text: "<html>" })],
]) {
  test(`${what} is repeated with the same bytes and ids`, async () => {
    const { url, requests } = await scripted(first, takes);
    await new Publisher(url, QUICK).publishAll([note(1), note(2)]);
    assert.equal(requests.length, 2);
    assert.deepEqual(requests[0].body, requests[1].body);
  });
}

test("Retry-After is waited for", async () => {
  const { url } = await scripted(fails(503, "unavailable", {}, { "retry-after": "1" }), takes);
  const began = performance.now();
  await new Publisher(url, QUICK).publish(note(1));
  assert.ok(performance.now() - began >= 990);
});

test("the end of the attempts says what is known: refused, unreachable, unanswered, foreign", async () => {
  const options = { backoff: { minDelay: 1, maxDelay: 2, maxAttempts: 2 } };
  const codes = async (...answers) => {
    const { url, requests } = await scripted(...answers);
    const code = await new Publisher(url, options).publish(note(1)).then(() => "none", (error) => error.code);
    return [code, requests.length];
  };
  assert.deepEqual(await codes(fails(503, "unavailable")), ["unavailable", 3]);
  assert.deepEqual(await codes(fails(403, "forbidden")), ["forbidden", 1]);
  assert.deepEqual(await codes(cuts), ["unanswered", 3]);
  assert.deepEqual(await codes(() => ({ status: 200, text: "hello" })), ["foreign", 1]);
  assert.deepEqual(await codes(() => ({ status: 504, text: "" })), ["unanswered", 3]);
  assert.deepEqual(await codes(() => ({ status: 202, text: '{"results":[]}' })), ["foreign", 1]);
  const free = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => free.once("listening", resolve));
  const { port } = free.address();
  await new Promise((resolve) => free.close(resolve));
  await assert.rejects(new Publisher(`http://127.0.0.1:${port}`, options).publish(note(1)), { code: "unreachable" });
});

test("an event that is refused stops no other", async () => {
  const { url } = await scripted(results((event) => (event.data.n === 2 ? { error: { code: "forbidden", message: "not there" } } : { type: event.type, to: event.to })));
  const outcomes = await new Publisher(url).publishAll([note(1), note(2), note(3)]);
  assert.deepEqual(outcomes.map((outcome) => outcome.code ?? outcome.to), ["room:tasks", "forbidden", "room:tasks"]);
});

test("half a surrogate pair in a text becomes U+FFFD; in a key, and over 1 MiB, the event alone is refused and not sent", async () => {
  const { url, requests } = await scripted(takes);
  const publisher = new Publisher(url);
  const outcomes = await publisher.publishAll([
    note(0, { data: { text: "cut \ud83d", whole: "\ud83d\ude00", list: ["\ude00"] } }),
    note(1, { data: { deep: { "key \ud83d": 1 } } }),
    note(2, { data: { text: "x".repeat(MAX_EVENT_BYTES) } }),
    note(3, { data: { n: NaN } }),
    note(4, { data: { n: 1n } }),
    note(5),
  ]);
  assert.deepEqual(outcomes.map((outcome) => outcome.code), [undefined, "invalid_payload", "too_large", "invalid_payload", "invalid_payload", undefined]);
  assert.match(outcomes[1].message, /\\ud83d/);
  assert.deepEqual(requests.map(({ body }) => body.map((event) => event.data)), [[{ text: "cut \ufffd", whole: "😀", list: ["\ufffd"] }, { n: 5 }]]);
});

test("a refused token is fetched again, once; white space around it is no part of it", async () => {
  const { url, requests } = await scripted(fails(401, "unauthorized"), takes);
  let given = 0;
  const publisher = new Publisher(url, { token: async () => `key${(given += 1)}\n` });
  await publisher.publish(note(1));
  assert.deepEqual(requests.map(({ headers }) => headers.authorization), ["Bearer key1", "Bearer key2"]);
  const wrong = await scripted(fails(401, "unauthorized"));
  await assert.rejects(new Publisher(wrong.url, { token: () => "no" }).publish(note(1)), { code: "unauthorized" });
  assert.equal(wrong.requests.length, 2);
  await assert.rejects(new Publisher(url, { token: () => Promise.reject(new Error("vault is shut")) }).publish(note(1)), /vault is shut/);
});

test("what waits is bounded in bytes, and a closed publisher finishes what it took", async () => {
  let open;
  const gate = new Promise((resolve) => (open = resolve));
  const { url } = await scripted(async (events) => (await gate, takes(events)));
  const publisher = new Publisher(url, { maxWaitingBytes: 2_000 });
  const first = publisher.publish(note(1, { data: { text: "x".repeat(1_500) } }));
  await assert.rejects(publisher.publish(note(2, { data: { text: "x".repeat(1_500) } })), { code: "queue_full" });
  const closed = publisher.close();
  await assert.rejects(publisher.publish(note(3)), { code: "closed" });
  open();
  await closed;
  assert.equal((await first).to, "room:tasks");
});

test("an address without http is refused at once", () => {
  assert.throws(() => new Publisher("ws://127.0.0.1:4800"), /begins with http/);
});

test("what the server evicted is counted over all answers", async () => {
  const evicting = (evicted) => (events) => ({ status: 202, text: JSON.stringify({ results: events.map(({ type, to }) => ({ type, to, seq: 1 })), evicted }) });
  const { url } = await scripted(evicting({ newest_values: 2, ids: 1 }), takes, evicting({ newest_values: 1, ids: 0 }));
  const publisher = new Publisher(url);
  assert.deepEqual(publisher.evicted, { newest_values: 0, ids: 0 });
  for (let n = 0; n < 3; n += 1) await publisher.publish(note(n));
  assert.deepEqual(publisher.evicted, { newest_values: 3, ids: 1 });
});
