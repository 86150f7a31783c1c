// Tokens and tickets against a real gateway that checks them.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { connect } from "../../dist/index.js";
import { connected } from "../../dist/iterate.js";
import { gateway, publish, until } from "../support/gateway.mjs";

const SECRET = "a secret of more than thirty-two bytes";
const folder = mkdtempSync(join(tmpdir(), "eventwire-keys-"));
writeFileSync(join(folder, "secret"), SECRET, { mode: 0o600 });
after(() => rmSync(folder, { recursive: true }));

/** A token as a back end signs it. */
function token(seconds, grants = { rooms: ["tasks"], permissions: ["publish"] }) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const body = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: "maria", iat: Math.floor(Date.now() / 1000), exp: Math.floor(Date.now() / 1000) + seconds, eventwire: grants })}`;
  return `${body}.${createHmac("sha256", SECRET).update(body).digest("base64url")}`;
}
const guarded = () => gateway({ args: ["--jwt-key-file", join(folder, "secret")] });
const QUICK = { targets: ["room:tasks"], backoff: { minDelay: 20, maxDelay: 100 } };

for (const transports of [["websocket"], ["sse"]]) {
  test(`${transports}: a token is replaced before it expires, and nothing is missed`, { timeout: 60_000 }, async () => {
    const server = await guarded();
    let asked = 0;
    // As it is read from a file or a response: the line end is not part of it.
    const client = connect(server.url, { ...QUICK, transports, token: () => (asked += 1, `${token(5)}\n`) });
    const got = [];
    const phases = [];
    client.on("*", (event) => got.push(event.data.n));
    client.on("state", ({ phase }) => phases.push(phase));
    try {
      await connected(client);
      await client.subscribe("room:tasks");
      const writer = token(60);
      let n = 0;
      await until(async () => {
        await publish(server.url, "room:tasks", { n: ++n }, { token: writer });
        return asked >= 3;
      }, "two more tokens", 20_000);
      await until(() => got.length === n, "everything");
      assert.deepEqual(got, Array.from({ length: n }, (_, index) => index + 1));
      assert.ok(!phases.includes("reconnecting") && !phases.includes("failed"), `${phases}`);
      if (transports[0] === "websocket") assert.deepEqual(phases, ["connected"]);
    } finally {
      client.close();
      await server.kill();
    }
  });

  test(`${transports}: an expired token is exchanged once; one that stays wrong is the end, and says why`, { timeout: 60_000 }, async () => {
    const server = await guarded();
    const given = [];
    const first = connect(server.url, { ...QUICK, transports: [...transports, "sse"].filter((name, index, all) => all.indexOf(name) === index), token: () => (given.push(1), token(given.length === 1 ? -60 : 60)) });
    try {
      await connected(first);
      assert.equal(given.length, 2);
    } finally {
      first.close();
    }
    let asked = 0;
    const second = connect(server.url, { ...QUICK, transports: ["websocket", "sse"], token: () => (asked += 1, "wrong") });
    try {
      await until(() => second.state.phase === "failed", "failed");
      assert.equal(second.state.code, 401);
      assert.equal(asked, 2);
      await assert.rejects(second.subscribe("room:tasks"), { code: "failed" });
    } finally {
      second.close();
      await server.kill();
    }
  });

  test(`${transports}: each connection gets a ticket of its own, and no token is ever in an address`, { timeout: 60_000 }, async () => {
    const server = await guarded();
    const secret = token(60);
    let tickets = 0;
    const urls = [];
    class Watched extends WebSocket {
      constructor(url, protocols) {
        urls.push(url);
        super(url, protocols);
      }
    }
    const client = connect(server.url, {
      ...QUICK,
      transports,
      WebSocket: Watched,
      fetch: (url, init) => (urls.push(String(url)), fetch(url, init)),
      async ticket() {
        tickets += 1;
        const response = await fetch(`${server.url}/v1/tickets`, { method: "POST", headers: { authorization: `Bearer ${secret}`, "content-type": "application/json" }, body: "{}" });
        return (await response.json()).ticket;
      },
    });
    try {
      const got = [];
      client.on("*", (event) => got.push(event.data.n));
      await connected(client);
      await client.subscribe("room:tasks");
      await publish(server.url, "room:tasks", { n: 1 }, { token: secret });
      await until(() => got.length === 1, "the first");
      client.close();
      await publish(server.url, "room:tasks", { n: 2 }, { token: secret });
      client.start();
      await until(() => got.length === 2, "what came meanwhile");
      assert.equal(tickets, 2);
      assert.ok(urls.length === 2 && urls.every((url) => url.includes("ticket=") && !url.includes(secret)), String(urls));
    } finally {
      client.close();
      await server.kill();
    }
  });
}

test("a target beyond the credentials is refused by itself, and not asked for again", { timeout: 60_000 }, async () => {
  const server = await guarded();
  const client = connect(server.url, { ...QUICK, targets: ["room:tasks", "room:staff"], token: token(60) });
  const refused = [];
  client.on("refused", ({ to, code }) => refused.push(`${to} ${code}`));
  try {
    await until(() => refused.length > 0, "refused");
    await assert.rejects(client.subscribe("adw:bbbbbbbb"), { code: "forbidden" });
    assert.deepEqual((await client.subscribe(["room:tasks", "room:other"])).refused.map(({ to }) => to), ["room:other"]);
    assert.deepEqual(client.targets, ["room:tasks"]);
    assert.deepEqual(refused, ["room:staff forbidden", "adw:bbbbbbbb forbidden", "room:other forbidden"]);
  } finally {
    client.close();
    await server.kill();
  }
});
