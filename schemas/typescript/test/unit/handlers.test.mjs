// Handlers that close the client while it tells them something, and tokens of any letters. Over WebSockets that are not there.

import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { createClient } from "../../dist/index.js";

const settle = () => new Promise((resolve) => setImmediate(resolve));

function world(options = {}) {
  const sockets = [];
  class Socket {
    closed = false;
    constructor(url, protocols) {
      Object.assign(this, { url, protocols });
      sockets.push(this);
    }
    send() {}
    close() {
      this.closed = true;
    }
    welcome() {
      this.onmessage({ data: JSON.stringify({ type: "connection.welcome", to: "connection:c1", data: { connection_id: "c1", epoch: "e1", server_time: "2026-11-20T10:00:00Z" } }) });
    }
  }
  const client = createClient("ws://host/v1/ws", { transports: ["websocket"], WebSocket: Socket, ...options });
  return { client, sockets };
}

for (const phase of ["connecting", "connected", "reconnecting"]) {
  test(`a handler that closes the client while it is told of ${phase} has closed it`, async (t) => {
    mock.timers.enable({ apis: ["setTimeout", "Date"] });
    t.after(() => mock.timers.reset());
    const { client, sockets } = world();
    const phases = [];
    client.on("state", (state) => {
      phases.push(state.phase);
      if (state.phase === phase) client.close();
    });
    client.start();
    await settle();
    sockets[0]?.welcome();
    sockets[0]?.onclose({ code: 1006, reason: "" });
    const opened = sockets.length;
    mock.timers.tick(120_000);
    await settle();
    assert.equal(client.state.phase, "closed");
    assert.equal(phases.at(-1), "closed");
    assert.equal(sockets.length, opened, "nothing is tried again");
    assert.ok(phase === "reconnecting" || sockets.every(({ closed }) => closed), "no socket stays");
  });
}

test("a handler that closes the client while it is told of the frame of welcome has closed it", async () => {
  const { client, sockets } = world();
  client.on("frame", () => client.close());
  client.start();
  await settle();
  sockets[0].welcome();
  assert.equal(client.state.phase, "closed");
  assert.ok(sockets[0].closed);
});

test("a token of any letters travels as the base64url of its UTF-8, without padding", async () => {
  for (const token of ["s3cret", "a?~>", "tök/en+?", "漢字"]) {
    const { client, sockets } = world({ token });
    client.start();
    await settle();
    assert.deepEqual(sockets[0]?.protocols, ["eventwire.v1", `eventwire.token.${Buffer.from(token).toString("base64url")}`], token);
    client.close();
  }
});
