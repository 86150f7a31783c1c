// Product Demo's React provider, taken out of the system's description and run as it stands there, against a gateway.
//
//   node product.mjs <URL of a listener of the dialect product>
//
// The gateway publishes without a key, and asks for its users somewhere that says of the cookie `connect.sid=s%3A<user>.x`
// that it is <user>'s, for the users maria and tom, and that it knows nobody else.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

import { transform } from "esbuild";
import { Window } from "happy-dom";
import WebSocket from "ws";

import { fenced, run, seed, until } from "./seeds.mjs";

const gateway = new URL(process.argv[2] ?? "http://127.0.0.1:5634/");
const description = seed("001");
if (!description) {
  console.log("skipped: the provider of Product Demo's client (no description 001; set EVENTWIRE_SHARED)");
  process.exit(0);
}

// ---- A browser, as far as the provider needs one -----------------------------------------------------------------

const window = new Window({ url: gateway.href });
globalThis.window = window;
globalThis.document = window.document;
globalThis.navigator ??= window.navigator;
let cookie;
// The one that a browser has sends the cookies of the page and where it comes from.
globalThis.WebSocket = class extends WebSocket {
  constructor(url) {
    super(url, { headers: { cookie, origin: gateway.origin } });
    globalThis.WebSocket.last = this;
    this.on("open", () => (this.wasOpen = true));
    this.on("close", (code) => (this.closeCode = code));
    this.on("error", () => {});
  }
};

const require = createRequire(import.meta.url);
const React = require("react");
const { createRoot } = require("react-dom/client");

const Login = React.createContext({ isAuthenticated: false });
const source = fenced(description, "client/src/contexts/WebSocketContext.tsx");
const { code } = await transform(source, { loader: "tsx", format: "cjs" });
const provider = { exports: {} };
const stubs = { react: React, "./AuthContext": { useAuth: () => React.useContext(Login) } };
new Function("require", "module", "exports", code)((name) => stubs[name], provider, provider.exports);
const { WebSocketProvider, useWebSocket } = provider.exports;

// A page of the application: the provider, and below it somebody who reads what it provides.
class Page {
  messages = [];

  constructor(user) {
    this.cookie = `theme=dark; connect.sid=s%3A${user}.x`;
    this.root = createRoot(window.document.createElement("div"));
  }

  render(isAuthenticated) {
    const page = this;
    function Reader() {
      const { connected, send, lastMessage } = useWebSocket();
      Object.assign(page, { connected, send });
      React.useEffect(() => {
        if (lastMessage) page.messages.push(lastMessage);
      }, [lastMessage]);
      return null;
    }
    this.Reader ??= Reader;
    cookie = this.cookie;
    const below = React.createElement(WebSocketProvider, null, React.createElement(this.Reader));
    this.root.render(React.createElement(Login.Provider, { value: { isAuthenticated } }, below));
  }

  async login() {
    const seen = this.messages.length;
    this.render(true);
    await until("a connection", () => this.connected);
    await until("a greeting", () => this.messages.slice(seen).some((frame) => frame.type === "connection_established"));
  }

  async logout() {
    this.render(false);
    await until("the end of the connection", () => this.connected === false);
  }
}

// ---- What the description says that the server sends -------------------------------------------------------------

const literals = [...description.matchAll(/\/\/ Server sends:\n(\{[\s\S]*?\n\})/g)].map((match) => match[1]);
const documented = literals.map((literal) => new Function(`return (${literal})`)());
const stages = [...description.matchAll(/type: 'rag_progress',\s*queryId,\s*stage: '(\w+)',\s*message: '([^']*)',\s*progress: (\d+)(,\s*result)?/g)].map(
  ([, stage, message, progress, result]) => ({
    type: "rag_progress",
    queryId: "query-123",
    stage,
    message,
    progress: Number(progress),
    ...(result && { result: { answer: "In chapter 4.", sources: ["doc-123"] } }),
  }),
);

// The same events in the words of the catalog, as a back end publishes them.
const published = {
  document_status: ({ documentId, status, progress, message }) => [
    "document.status",
    { document_id: documentId, status, percent: progress, message },
  ],
  rag_progress: ({ queryId, stage, message, progress, result }) => [
    "rag.progress",
    { query_id: queryId, stage, message, percent: progress, result },
  ],
  message_chunk: ({ messageId, sessionId, content, isComplete }) => [
    "message.chunk",
    { message_id: messageId, session_id: sessionId, content, is_complete: isComplete },
  ],
  mcp_install_progress: ({ installId, stage, output, progress }) => [
    "install.progress",
    { install_id: installId, stage, output, percent: progress },
  ],
  session_update: ({ status, expiresIn }) => ["session.expiring", { status, expires_in_seconds: expiresIn }],
  user_activity: ({ userId, username, action, documentId }) => [
    "user.activity",
    { user_id: userId, username, action, document_id: documentId },
  ],
};

async function publish(type, to, data) {
  const answer = await fetch(new URL("/v1/events", gateway), {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ type, to, data }),
  });
  if (answer.status !== 202) throw new Error(`publishing ${type}: ${answer.status} ${await answer.text()}`);
}

async function send(frame, to) {
  const [type, data] = published[frame.type](frame);
  await publish(type, to, data);
}

const [maria, second, tom] = ["maria", "maria", "tom"].map((user) => new Page(user));
const everyone = [maria, second, tom];

// What each page was told between two moments. A last event for everyone says that nothing is still on its way.
let marks = 0;
async function toldBy(deed) {
  const seen = everyone.map((page) => page.messages.length);
  await deed();
  const documentId = `mark-${(marks += 1)}`;
  await publish("user.activity", "global", {
    user_id: "nobody",
    username: "Nobody",
    action: "viewing_document",
    document_id: documentId,
  });
  const told = [];
  for (const [index, page] of everyone.entries()) {
    const isMark = (frame) => frame.documentId === documentId;
    await until("the mark", () => page.messages.some(isMark));
    told.push(page.messages.slice(seen[index]).filter((frame) => !isMark(frame)));
  }
  return told;
}

// React joins what comes at once: one event at a time, so that each is somebody's last message.
async function arrives(deed, ...pages) {
  const seen = pages.map((page) => page.messages.length);
  await deed();
  for (const [at, page] of pages.entries()) await until("an event", () => page.messages.length > seen[at]);
}

await run([
  ["the description documents six events and five stages", () => {
    assert.deepEqual(documented.map((frame) => frame.type).sort(), Object.keys(published).sort());
    assert.deepEqual(stages.map((frame) => frame.stage), ["STARTED", "EMBEDDING", "RETRIEVAL", "GENERATION", "COMPLETE"]);
  }],
  ["the provider connects with the cookie of the page", async () => {
    for (const page of everyone) await page.login();
  }],
  ...[...documented, ...stages].filter((frame) => frame.type !== "user_activity").map((frame) => [
    `${frame.type}${frame.stage ? ` ${frame.stage} ${frame.progress}` : ""} is the last message of both tabs of its user, and nobody else's`,
    async () => {
      const told = await toldBy(() => arrives(() => send(frame, "user:maria"), maria, second));
      assert.deepEqual(told, [[frame], [frame], []]);
    },
  ]),
  ["user_activity is told to everyone but its author", async () => {
    const frame = { ...documented.find((frame) => frame.type === "user_activity"), userId: "maria" };
    assert.deepEqual(await toldBy(() => arrives(() => send(frame, "global"), tom)), [[], [], [frame]]);
  }],
  ["what a page sends with send() as user_activity reaches the others under its user's own name", async () => {
    const asked = { type: "user_activity", action: "viewing_document", documentId: "doc-456", userId: "maria" };
    const told = await toldBy(() => arrives(() => tom.send(asked), maria, second));
    const [[frame]] = told;
    assert.equal(frame.userId, "tom");
    assert.deepEqual([frame.type, frame.action, frame.documentId], ["user_activity", "viewing_document", "doc-456"]);
    assert.deepEqual(told, [[frame], [frame], []]);
  }],
  ["an answer goes to the page that asked", async () => {
    const told = await toldBy(() => arrives(() => maria.send({ type: "ping", timestamp: Date.now() }), maria));
    const [[pong]] = told;
    assert.ok(pong.type === "pong" && Number.isInteger(pong.timestamp));
    assert.deepEqual(told, [[pong], [], []]);
  }],
  ["an event for a user whom nobody knows is told to nobody", async () => {
    assert.deepEqual(await toldBy(() => send(documented[0], "user:whoever")), [[], [], []]);
  }],
  ["a page whose cookie nobody knows is not connected for long, and told nothing", async () => {
    const stranger = new Page("stranger");
    globalThis.WebSocket.last = undefined;
    stranger.render(true);
    // It may be over before React has shown that it began.
    const socket = await until("a socket", () => globalThis.WebSocket.last);
    await until("its end", () => socket.closeCode);
    assert.deepEqual([socket.wasOpen, socket.closeCode], [true, 1008]);
    await until("the provider knows", () => stranger.connected === false);
    assert.deepEqual(stranger.messages, []);
    stranger.root.unmount();
  }],
  ["who logs out is told nothing, and after logging in what was missed", async () => {
    await maria.logout();
    await second.logout();
    const seen = maria.messages.length;
    const frame = { ...documented.find((frame) => frame.type === "document_status"), documentId: "doc-789" };
    await send({ ...frame, progress: 10 }, "user:maria");
    await send(frame, "user:maria");
    // Greeting and what was missed come at once, and React shows the last.
    maria.render(true);
    await until("what was missed", () => maria.messages.at(-1)?.documentId === "doc-789");
    assert.deepEqual(maria.messages.at(-1), frame);
    assert.ok(maria.messages.length <= seen + 2);
    second.render(true);
    // A page that opens later is told how the documents are as well (FLOW-10).
    await until("how the documents are", () => second.messages.at(-1)?.documentId === "doc-789");
    assert.deepEqual(second.messages.at(-1), frame);
  }],
  ["a page that goes away takes its connection with it", async () => {
    for (const page of everyone) page.root.unmount();
    const count = async () => {
      const answer = await fetch(new URL("/v1/connections", gateway));
      return (await answer.json()).connections.filter((of) => of.dialect === "product").length;
    };
    await until("the end of all connections", async () => (await count()) === 0);
  }],
]);
