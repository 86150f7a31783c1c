// Published pages of the older systems, unmodified, against a gateway that is restarted under them.
//
//   node published.mjs FOLDER BINARY
//
// FOLDER holds clones as `<owner>+<name>/repo`, bare or not. The pages are read out of them and never copied into this project.
// BINARY is `eventwire`. A page whose clone is absent is skipped, and the line says so.

import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request as forward } from "node:http";
import { createRequire } from "node:module";
import { connect, createServer as createTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { EventSource as LibraryEventSource } from "eventsource";
import { Window } from "happy-dom";
import { io } from "socket.io-client";
import { WebSocket } from "ws";
import { run, until } from "./seeds.mjs";

const [folder, binary] = process.argv.slice(2);
const scratch = mkdtempSync(join(tmpdir(), "eventwire-published-"));
process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));

// Runs of agents, so that there is something to count.
const runs = join(scratch, "agents");
mkdirSync(runs);

class Skipped extends Error {}

// A file of a clone, as it was at a commit.
function published(repository, commit, path) {
  const clone = join(folder, repository, "repo");
  try {
    const options = { encoding: "utf8", maxBuffer: 1 << 26, stdio: ["ignore", "pipe", "ignore"] };
    return execFileSync("git", ["-C", clone, "show", `${commit}:${path}`], options);
  } catch {
    throw new Skipped(`${repository} ${commit} is not in ${folder}`);
  }
}

const freePort = () =>
  new Promise((resolve) => {
    const server = createTcp().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

const started = [];
process.on("exit", () => started.forEach((child) => child.kill("SIGKILL")));

// A gateway on fixed ports, which can be killed and started again.
class Gateway {
  static async with(dialects, more = []) {
    const gateway = new Gateway();
    gateway.ports = Object.fromEntries(await Promise.all(["canonical", ...dialects].map(async (of) => [of, await freePort()])));
    gateway.more = typeof more === "function" ? more(gateway.ports) : more;
    await gateway.start();
    return gateway;
  }
  async start() {
    const listen = Object.entries(this.ports).map(([dialect, port]) => `--listen=127.0.0.1:${port}=${dialect}`);
    const quiet = ["serve", "--no-sample", "--drain-seconds", "0", ...listen, ...this.more];
    this.child = spawn(binary, quiet, { cwd: scratch, stdio: "ignore" });
    started.push(this.child);
    await until("the gateway", () => fetch(this.url("canonical", "/ready")).then((it) => it.ok, () => false));
  }
  async stop() {
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill("SIGKILL");
    await ended;
  }
  async restart() {
    await this.stop();
    await this.start();
  }
  url(dialect, path = "") {
    return `http://127.0.0.1:${this.ports[dialect]}${path}`;
  }
  async post(dialect, path, body, headers = {}) {
    const answer = await fetch(this.url(dialect, path), {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`);
    return JSON.parse(text);
  }
}

// The session page of Shared Context in a window of its own. Each reload is counted, and opens the page anew.
class SessionPage {
  constructor(source, gateway, dialect) {
    // The last script of the page, rendered as its server does it for a session without memory.
    this.script = source.slice(source.lastIndexOf("\n<script>") + 9, source.lastIndexOf("</script>"));
    this.script = this.script.replace(/{% if session_memory %}[\s\S]*{% endif %}/, "");
    this.script = this.script.replaceAll("{{ session_id }}", "s1").replaceAll("{{ websocket_port }}", gateway.ports[dialect]);
    Object.assign(this, { gateway, dialect, reloads: 0, frames: [], sockets: [] });
    this.load();
  }
  load() {
    const base = this.gateway.url(this.dialect, "/ui/sessions/s1");
    this.window = new Window({ url: base });
    const { document } = this.window;
    document.body.innerHTML = `<span class="x"><i id="ws-indicator"></i></span><b id="ws-text"></b><div class="messages-header">
      <h2></h2></div><div class="messages-container"><div id="messages-list" class="messages-list"></div></div>`;
    const page = this;
    const Socket = class extends WebSocket {
      constructor(url) {
        super(url);
        page.sockets.push(this);
        this.addEventListener("message", ({ data }) => page.frames.push(String(data)));
      }
    };
    const at = new URL(base);
    const location = { protocol: "http:", host: at.host, hostname: at.hostname, pathname: at.pathname, reload: () => page.reload() };
    const window = new Proxy(this.window, { get: (of, name) => (name === "location" ? location : Reflect.get(of, name)) });
    const quiet = { log() {}, warn() {}, error() {} };
    const globals = { window, document, WebSocket: Socket, console: quiet, navigator: {}, localStorage: this.window.localStorage };
    const begin = 'document.dispatchEvent(new window.Event("DOMContentLoaded"));';
    new Function(...Object.keys(globals), `${this.script}\n;${begin}`)(...Object.values(globals));
  }
  reload() {
    this.reloads += 1;
    this.sockets.splice(0).forEach((socket) => { socket.onclose = null; socket.close(); });
    if (this.reloads < 50) this.load();
  }
  text() {
    return this.window.document.getElementById("messages-list").textContent;
  }
  get isOpen() {
    return this.sockets.at(-1)?.readyState === WebSocket.OPEN;
  }
  // Whether the page has another socket than this one, and it is open: the end of the old one may not be noticed yet.
  isBackAfter(socket) {
    return this.isOpen && this.sockets.at(-1) !== socket;
  }
  close() {
    this.sockets.splice(0).forEach((socket) => { socket.onclose = null; socket.close(); });
  }
}

const message = (id) => ({
  type: "new_message",
  data: { id, sender: "claude", sender_type: "claude", content: `text ${id}`, visibility: "public", timestamp: new Date().toISOString(), metadata: {} },
});
const update = { type: "session_update", session_id: "s1", agent_id: "claude", message_count: 1 };
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const year = String(new Date().getFullYear());

async function sharedContext(commit, dialect, reloadsPerUpdate) {
  const source = published("leoric-crown+shared-context-server", commit, "src/shared_context_server/templates/session_view.html");
  const gateway = await Gateway.with([dialect]);
  const tell = (event) => gateway.post(dialect, "/broadcast/s1", event);
  await tell(update);
  const page = new SessionPage(source, gateway, dialect);
  await until("the socket", () => page.isOpen);
  await sleep(1_500);
  if (page.reloads > 0) throw new Error(`reloaded ${page.reloads} times on an update of before`);
  await tell(message(1));
  await until("a message", () => page.text().includes("text 1"));
  if (!page.text().includes(year)) throw new Error(`no time of ${year}: ${page.text().replace(/\s+/g, " ")}`);
  await tell(update);
  await sleep(1_500);
  if (page.reloads !== reloadsPerUpdate) throw new Error(`${page.reloads} reloads for one update`);
  const before = page.sockets.at(-1);
  await gateway.restart();
  await until("the page to come back", () => page.isBackAfter(before), 20_000);
  await tell(message(2));
  await until("a message after the restart", () => page.text().includes("text 2"));
  page.close();
  await gateway.stop();
}

// AMIGA's dashboard.js as a module, with the globals that a browser gives it.
async function dashboard() {
  const [repository, commit] = ["mjfuentes+amiga", "HEAD"];
  const gateway = await Gateway.with(["amiga"], ["--agents", runs]);
  for (const name of ["dashboard.js", "config.js"]) {
    writeFileSync(join(scratch, name), published(repository, commit, `static/js/${name}`));
  }
  writeFileSync(join(scratch, "package.json"), '{"type":"module"}');
  const base = gateway.url("amiga");
  const window = new Window({ url: base });
  window.document.write(published(repository, commit, "templates/dashboard.html").replace(/<script[\s\S]*?<\/script>/g, ""));
  const [opened, figures, errors, connected] = [[], [], [], []];
  globalThis.window = window;
  globalThis.document = window.document;
  globalThis.EventSource = class extends LibraryEventSource {
    constructor(path) {
      super(new URL(path, base));
      this.addEventListener("open", () => opened.push(path));
      this.addEventListener("message", ({ data }) => figures.push(JSON.parse(data)));
    }
  };
  globalThis.io = (options) => {
    const socket = io(base, options);
    socket.on("connect", () => connected.push(socket.id));
    globalThis.socket = socket;
    return socket;
  };
  const { fetch: plain, console: terminal } = globalThis;
  globalThis.fetch = (path, options) => plain(new URL(path, base), options);
  const quiet = { log() {}, info() {}, debug() {}, warn() {}, error: (...words) => errors.push(words.join(" ")) };
  globalThis.console = { ...terminal, ...quiet };
  try {
    await import(pathToFileURL(join(scratch, "dashboard.js")));
    window.document.dispatchEvent(new window.Event("DOMContentLoaded"));
    await until("the stream", () => opened.length > 0 && figures.length > 0);
    await until("the socket", () => connected.length > 0);
    globalThis.fetch = plain;
    await gateway.restart();
    await until("the stream after the restart", () => opened.length > 1 && figures.length > 1, 30_000);
    await until("the socket after the restart", () => connected.length > 1, 30_000);
  } finally {
    globalThis.fetch = plain;
    globalThis.console = terminal;
    globalThis.socket?.close();
  }
  const empty = errors.filter((line) => line.includes("Unexpected end of JSON") || line.includes("Failed to create EventSource"));
  if (empty.length > 0) throw new Error(`the page could not read what came: ${empty[0]}`);
  for (const member of ["overview", "sessions", "activity", "timestamp"]) {
    if (!(member in figures.at(-1))) throw new Error(`no ${member} in ${JSON.stringify(figures.at(-1))}`);
  }
  await gateway.stop();
}

// What stands between: it forwards requests, and ends every upgrade.
function withoutUpgrades(port) {
  return new Promise((resolve) => {
    const server = createServer((request, response) => {
      const { method, url, headers } = request;
      const onward = forward({ port, host: "127.0.0.1", method, path: url, headers }, (answer) => {
        response.writeHead(answer.statusCode, answer.headers);
        answer.pipe(response);
      });
      onward.on("error", () => response.destroy());
      response.on("close", () => onward.destroy());
      request.pipe(onward);
    });
    server.on("upgrade", (_, socket) => socket.destroy());
    server.listen(0, "127.0.0.1", () => resolve(server));
  });
}

async function pollingFirst() {
  const gateway = await Gateway.with(["amiga"], ["--agents", runs]);
  const server = await withoutUpgrades(gateway.ports.amiga);
  const socket = io(`http://127.0.0.1:${server.address().port}`, { transports: ["polling", "websocket"], reconnectionDelay: 200 });
  const updates = [];
  socket.on("connect", () => socket.emit("subscribe", { hours: 24, update_interval: 1 }));
  socket.on("metrics_update", (it) => updates.push(it));
  await until("figures by polling", () => updates.length > 0);
  await sleep(1_000);
  if (!socket.connected || socket.io.engine.transport.name !== "polling") throw new Error("it left polling");
  const before = updates.length;
  socket.emit("request_refresh");
  await until("a refresh by polling", () => updates.length > before);
  const first = updates.length;
  await gateway.restart();
  await until("figures after the restart", () => updates.length > first, 30_000);
  socket.close();
  server.closeAllConnections();
  server.close();
  await gateway.stop();
}

// Pages have no place for a key: beside API keys they come in where --anonymous says so, and only listen.
async function anonymousBesideKeys() {
  const keys = join(scratch, "keys.toml");
  const secret = join(scratch, "secret");
  writeFileSync(keys, execFileSync(binary, ["api-key", "--secret-file", secret, "--name", "app"], { encoding: "utf8" }), { mode: 0o600 });
  const gateway = await Gateway.with(["shared_context", "adw_trigger"], ["--api-keys-file", keys, "--anonymous", "shared_context,adw_trigger"]);
  const bearer = { authorization: `Bearer ${readFileSync(secret, "utf8").trim()}` };
  const source = published("leoric-crown+shared-context-server", "532b756", "src/shared_context_server/templates/session_view.html");
  const page = new SessionPage(source, gateway, "shared_context");
  await until("the socket", () => page.isOpen);
  await gateway.post("shared_context", "/broadcast/s1", message(1), bearer);
  await until("a message", () => page.text().includes("text 1"));
  const refused = await fetch(gateway.url("shared_context", "/broadcast/s1"), {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(message(2)),
  });
  if (refused.status !== 401 && refused.status !== 403) throw new Error(`a stranger published: ${refused.status}`);
  const before = page.sockets.at(-1);
  await gateway.restart();
  await until("the page to come back", () => page.isBackAfter(before), 20_000);
  page.close();
  await gateway.stop();
}

// The kanban's own service. Each event that it hands on is a line in a log, or a step of a ticket.
async function kanban() {
  const repository = "kvnkishore11+AgenticKanban";
  const clone = join(folder, repository, "repo");
  published(repository, "HEAD", "src/services/websocket/websocketService.js");
  const source = join(scratch, "kanban");
  mkdirSync(source);
  const archive = execFileSync("git", ["-C", clone, "archive", "HEAD", "src"], { maxBuffer: 1 << 28 });
  execFileSync("tar", ["-x", "-C", source], { input: archive });
  const gateway = await Gateway.with(["adw_trigger"]);
  const bundle = join(scratch, "kanban.mjs");
  const { build } = await import("esbuild");
  await build({
    entryPoints: [join(source, "src/services/websocket/websocketService.js")],
    bundle: true, format: "esm", outfile: bundle, platform: "node", logLevel: "silent",
    define: { "import.meta.env": JSON.stringify({ VITE_BACKEND_URL: gateway.url("adw_trigger"), DEV: false }) },
  });
  const { port } = new URL(gateway.url("adw_trigger"));
  const window = new Window({ url: `http://127.0.0.1:${port}/` });
  Object.assign(globalThis, { window, document: window.document, WebSocket });
  const terminal = globalThis.console;
  const quiet = { log() {}, info() {}, debug() {}, warn() {}, error() {} };
  const kept = async (number) => {
    const event = (type, data) => ({ type, to: "adw:29fb6a3e", data: { adw_id: "29fb6a3e", status: "in_progress", ...data } });
    await gateway.post("canonical", "/v1/events", event("adw.agent_summary_update", { message: `summary ${number}` }));
    await gateway.post("canonical", "/v1/events", event("adw.status_update", { workflow_name: "adw_plan_iso", message: `status ${number}` }));
  };
  const heard = [];
  await kept(1);
  globalThis.console = { ...terminal, ...quiet };
  const { default: service } = await import(pathToFileURL(bundle));
  try {
    for (const type of ["agent_summary_update", "status_update"]) service.on(type, (it) => heard.push(`${type} ${it.message}`));
    service.config = { ...service.config, host: "127.0.0.1", port: Number(port) };
    await service.connect();
    const subscribe = () => service.ws.send(JSON.stringify({ type: "subscribe", adw_id: "29fb6a3e" }));
    for (let times = 0; times < 3; times += 1) subscribe();
    await sleep(500);
    if (heard.length > 0) throw new Error(`told of before: ${heard}`);
    await kept(2);
    await until("what is new", () => heard.length >= 2);
    for (let times = 0; times < 3; times += 1) subscribe();
    await sleep(500);
    const isBackAfter = (socket) => service.isConnected && service.ws !== socket && service.ws?.readyState === WebSocket.OPEN;
    const first = service.ws;
    first.close(4000);
    await until("the page to come back", () => isBackAfter(first), 30_000);
    await sleep(500);
    if (heard.length !== 2) throw new Error(`told twice: ${heard}`);
    const second = service.ws;
    await gateway.restart();
    await until("the page to come back", () => isBackAfter(second), 60_000);
    // The socket of the page opens a moment before the hub has its connection.
    const listed = async () => (await (await fetch(gateway.url("canonical", "/v1/connections"))).json()).connections.length;
    await until("its connection", async () => (await listed()) > 0);
    await kept(3);
    await until("what is new after the restart", () => heard.length >= 4, 20_000);
    if (heard.length !== 4) throw new Error(`told twice: ${heard}`);
  } finally {
    globalThis.console = terminal;
    service.disconnect?.();
    await gateway.stop();
  }
}

// Answers commands as a back end does, until it is stopped; after a restart of the gateway it comes back.
function backEnd(gateway, answer) {
  const stop = new AbortController();
  const publish = (type, to, data) => gateway.post("canonical", "/v1/events", { type, to, data });
  const acknowledge = (id) => gateway.post("canonical", `/v1/commands/${encodeURIComponent(id)}/ack`, undefined);
  const reading = (async () => {
    while (!stop.signal.aborted) {
      try {
        const stream = await fetch(gateway.url("canonical", "/v1/commands"), { signal: stop.signal });
        let text = "";
        for await (const piece of stream.body.pipeThrough(new TextDecoderStream())) {
          const blocks = (text + piece).split("\n\n");
          text = blocks.pop();
          for (const block of blocks) {
            const data = block.split("\n").find((line) => line.startsWith("data: "));
            if (!data) continue;
            const command = JSON.parse(data.slice(6));
            await answer(command, publish);
            await acknowledge(command.id);
          }
        }
      } catch {
        await sleep(100);
      }
    }
  })();
  return async () => {
    stop.abort();
    await reading;
  };
}

// Product Demo's WebSocketContext and MCPContext of its newest branch, as a page mounts them.
async function productMcp() {
  const repository = "Yaswanth-ampolu+productdemo";
  const source = join(scratch, "product");
  mkdirSync(source);
  for (const name of ["WebSocketContext.tsx", "MCPContext.tsx"]) {
    writeFileSync(join(source, name), published(repository, "agentic", `client/src/contexts/${name}`));
  }
  const accounts = createServer((request, response) => {
    const known = /connect\.sid=s%3Amaria\.x/.test(request.headers.cookie ?? "");
    response.writeHead(known ? 200 : 401, { "content-type": "application/json" });
    response.end(known ? '{"userId":"maria","username":"Maria"}' : "{}");
  });
  await new Promise((resolve) => accounts.listen(0, "127.0.0.1", resolve));
  const lookup = ["--product-lookup-url", `http://127.0.0.1:${accounts.address().port}/api/me`];
  const gateway = await Gateway.with(["product"], lookup);
  // What the page has beside the two contexts: a login, and the application's own endpoints.
  writeFileSync(join(source, "AuthContext.js"), 'const login = { user: { id: "maria", username: "Maria" } }; export const useAuth = () => login;');
  const server = { id: 1, mcp_host: "tools.example.org", mcp_port: 8080, is_default: true };
  const answers = { "/api/mcp/server/config": { configurations: [server] } };
  for (const path of ["info", "tools"]) answers[`http://tools.example.org:8080/${path}`] = { version: "1.0.0", tools: [] };
  writeFileSync(
    join(source, "axios.js"),
    `const answers = ${JSON.stringify(answers)};
     const get = async (url) => answers[url] ? { data: answers[url] } : Promise.reject(new Error(url));
     export default { get, post: get };`,
  );
  writeFileSync(
    join(source, "page.js"),
    `export { createElement } from "react"; export { createRoot } from "react-dom/client";
     export { WebSocketProvider } from "./WebSocketContext"; export { MCPProvider, useMCP } from "./MCPContext";`,
  );
  const bundle = join(scratch, "product.mjs");
  const { build } = await import("esbuild");
  await build({
    entryPoints: [join(source, "page.js")], bundle: true, format: "esm", outfile: bundle, platform: "browser", logLevel: "silent",
    alias: { axios: join(source, "axios.js") }, nodePaths: [join(import.meta.dirname, "node_modules")],
    define: { "process.env.NODE_ENV": '"production"' },
  });
  const window = new Window({ url: gateway.url("product", "/") });
  const terminal = globalThis.console;
  class Socket extends WebSocket {
    constructor(url) {
      super(url, { headers: { cookie: "connect.sid=s%3Amaria.x", origin: gateway.url("product") } });
    }
  }
  Object.assign(globalThis, { window, document: window.document, localStorage: window.localStorage, WebSocket: Socket });
  Object.assign(window, { WebSocket: Socket });
  // Its timers go on after it is unmounted, so these stay, and the check is the last one.
  Object.assign(globalThis, { Event: window.Event, CustomEvent: window.CustomEvent });
  globalThis.console = { ...terminal, log() {}, info() {}, debug() {}, warn() {}, error() {} };
  window.localStorage.setItem("mcp_enabled", "true");
  let connections = 0;
  const stop = backEnd(gateway, async (command, publish) => {
    if (command.name !== "mcp_connect" && command.name !== "mcp_execute_tool") return;
    const own = `connection:${command.connection_id}`;
    if (command.name === "mcp_connect") {
      connections += 1;
      const { host, port } = command.data;
      await publish("mcp.connected", own, { mcp_connection_id: `mcp-${connections}`, client_id: `client-${connections}`, host, port });
    } else {
      const { connectionId, tool } = command.data;
      await publish("mcp.tool_result", own, { mcp_connection_id: connectionId, result: { tool, text: "# Readme" } });
    }
  });
  let unmount = () => {};
  try {
    const { createElement, createRoot, WebSocketProvider, MCPProvider, useMCP } = await import(pathToFileURL(bundle));
    let mcp;
    const Probe = () => {
      mcp = useMCP();
      return null;
    };
    const root = createRoot(window.document.createElement("div"));
    unmount = () => root.unmount();
    root.render(createElement(WebSocketProvider, null, createElement(MCPProvider, null, createElement(Probe))));
    await until("the context", () => mcp?.defaultServer, 20_000);
    const connected = async (what) => {
      await until(what, async () => {
        if (mcp.isConnected) return true;
        if (!mcp.isLoading) await mcp.connectToServer(server).catch(() => {});
        await sleep(300);
        return mcp.isConnected;
      }, 40_000);
    };
    await connected("a connection to the tools");
    const results = [];
    mcp.registerToolResultHandler((data) => results.push(data));
    await sleep(100);
    mcp.executeCommand("read_file", { path: "README.md" }).catch(() => {});
    await until("the answer of a tool", () => results.length > 0 || mcp.error, 20_000);
    if (results[0]?.text !== "# Readme") throw new Error(`not the answer: ${JSON.stringify(results)} ${mcp.error}`);
    await gateway.restart();
    const before = connections;
    await until("the tools after the restart", async () => {
      await mcp.connectToServer(server).catch(() => {});
      await sleep(500);
      return connections > before;
    }, 60_000);
  } finally {
    unmount();
    globalThis.console = terminal;
    await stop();
    accounts.closeAllConnections();
    accounts.close();
    await gateway.stop();
  }
}

// The newest Monadic page's own handler of fragments, in a tab that joins in the middle of an answer.
async function monadicFragments() {
  const repository = "yohasebe+monadic-chat";
  const folder = "docker/services/ruby/public/js/monadic";
  const scripts = ["dom-helpers.js", "ws-fragment-handler.js"].map((name) => published(repository, "HEAD", `${folder}/${name}`));
  const gateway = await Gateway.with(["monadic"]);
  const url = gateway.url("monadic").replace("http", "ws");
  let cookie;
  const first = new WebSocket(url);
  first.on("upgrade", ({ headers }) => ([cookie] = headers["set-cookie"][0].split(";")));
  await until("the first tab", () => first.readyState === WebSocket.OPEN);
  const { connections } = await (await fetch(gateway.url("canonical", "/v1/connections"))).json();
  const to = `session:${connections[0].session_id}`;
  const part = (content, sequence) =>
    gateway.post("canonical", "/v1/events", { type: "chat.fragment", to, data: { content, sequence, is_first: sequence === 0 } });
  for (const [sequence, text] of ["On", "ce upon", "\na time"].entries()) await part(text, sequence);
  const window = new Window({ url: gateway.url("monadic") });
  window.document.body.innerHTML = '<div id="discourse"></div><div id="chat"></div>';
  const quiet = { log() {}, warn() {}, error() {} };
  for (const script of scripts) new Function("window", "document", "console", script)(window, window.document, quiet);
  const globals = Object.keys(window).filter((name) => name.startsWith("$"));
  const handle = new Function("window", "document", "console", ...globals, `${scripts[1]}\n;return window.handleFragmentMessage;`)(
    window, window.document, quiet, ...globals.map((name) => window[name]),
  );
  const late = new WebSocket(url, { headers: { cookie } });
  late.on("message", (data) => {
    const frame = JSON.parse(data);
    if (frame.type === "fragment") handle(frame);
  });
  const shown = () => window.document.querySelector("#temp-card .card-text")?.textContent;
  await until("the text so far", () => shown() === "Once upona time");
  await part(" there was", 3);
  await until("the part that follows", () => shown() === "Once upona time there was");
  late.send(JSON.stringify({ message: "LOAD", ui_language: "en" }));
  await sleep(500);
  if (shown() !== "Once upona time there was") throw new Error(`shown twice: ${shown()}`);
  first.close();
  late.close();
  await gateway.stop();
}

// The whole newest Monadic page in Chromium, with the back end of the guide: a turn, a restart of the gateway, another turn.
async function monadicPage() {
  const repository = "yohasebe+monadic-chat";
  const source = (path) => published(repository, "HEAD", path);
  const browsers = new URL("../../transports/gateway/web/test/browser/package.json", import.meta.url);
  const { chromium } = createRequire(browsers)("playwright-core");
  const ruby = "docker/services/ruby";
  const site = join(scratch, "monadic");
  mkdirSync(site);
  source(`${ruby}/views/index.erb`);
  const archive = execFileSync("git", ["-C", join(folder, repository, "repo"), "archive", `HEAD:${ruby}/public`], { maxBuffer: 1 << 28 });
  execFileSync("tar", ["x", "-C", site], { input: archive });
  // Rendered as the application does it outside of a container: the scripts one by one, and no settings.
  const scripts = source("scripts/build_js_bundle.mjs").match(/const FILES = \[([^]*?)\]/)[1].matchAll(/"([^"]+)"/g);
  const tags = Array.from(scripts, ([, script]) => `<script src="${script}"></script>`).join("\n");
  const page = source(`${ruby}/views/index.erb`)
    .replace(/<% if @dev_js_files[^]*?<% end %>\s*<% else %>[^]*?<% end %>/, tags)
    .replace("<%= privacy_filter_raw.to_s.downcase != 'false' ? 'true' : 'false' %>", "false")
    .replace("<%= codes.uniq.to_json %>", "[]")
    .replace("<%= @ui_language %>", "en")
    .replace(/<%[^]*?%>/g, "");
  writeFileSync(join(site, "index.html"), page);
  const secret = join(scratch, "monadic.secret");
  writeFileSync(secret, "s".repeat(40), { mode: 0o600 });
  // On localhost the page asks for a fixed port; under another name for its own.
  const named = ({ monadic }) => ["--allowed-hosts", "chat.test", "--allowed-origins", `http://chat.test:${monadic}`];
  const gateway = await Gateway.with(["monadic"], (ports) => ["--static", `monadic=${site}`, "--session-secret-file", secret, ...named(ports)]);
  const guide = new URL("../../docs/guides/producers/backend.mjs", import.meta.url).pathname;
  const backEnd = spawn(process.execPath, [guide, "feed"], { stdio: "ignore", env: { ...process.env, EVENTWIRE_URL: gateway.url("canonical") } });
  started.push(backEnd);
  const args = ["--no-sandbox", "--host-resolver-rules=MAP chat.test 127.0.0.1"];
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args });
  try {
    const tab = await browser.newPage();
    const [sent, frames, errors] = [[], [], []];
    let opened = 0;
    tab.on("pageerror", ({ message }) => errors.push(message));
    tab.on("websocket", (socket) => {
      opened += 1;
      socket.on("framesent", ({ payload }) => sent.push(JSON.parse(payload)));
      socket.on("framereceived", ({ payload }) => frames.push(JSON.parse(payload)));
    });
    // Libraries that the page loads from elsewhere are left out, and the dialogs of one of them.
    await tab.addInitScript(() => {
      class Dialog {
        static getInstance = () => null;
        static getOrCreateInstance = () => new Dialog();
        show() {}
        hide() {}
        toggle() {}
        update() {}
        dispose() {}
      }
      window.bootstrap = new Proxy({}, { get: () => Dialog });
    });
    await tab.route((url) => url.hostname !== "chat.test", (route) => route.abort());
    await tab.goto(`http://chat.test:${gateway.ports.monadic}/`, { waitUntil: "load" });
    const has = (type) => frames.filter((frame) => frame.type === type);
    await until("the apps", () => has("apps").length > 0, 20_000);
    await until("the app in the list", () => tab.evaluate(() => document.querySelector("#apps")?.value === "Echo"), 20_000);
    const say = async (text) => {
      await tab.evaluate((text) => {
        const field = document.querySelector("#message");
        field.value = text;
        field.dispatchEvent(new Event("input", { bubbles: true }));
        document.querySelector("#send").click();
      }, text);
      await until(`the turn ${text}`, () => sent.some((frame) => frame.message === text), 20_000);
      await until(`the answer to ${text}`, () => has("html").some(({ content }) => content.text === `You said: ${text}`), 20_000);
    };
    await tab.evaluate(() => document.querySelector("#start").click());
    const shown = () => tab.evaluate(() => document.querySelector("#discourse").textContent);
    await say("first");
    await until("the first answer on the page", async () => (await shown()).includes("You said: first"), 20_000);
    const before = opened;
    await gateway.restart();
    await until("the page to come back", () => opened > before, 60_000);
    const checks = sent.filter(({ message }) => message === "CHECK_TOKEN").length;
    await until("the page to be let in", () => has("token_verified").length >= 2, 60_000);
    await sleep(1_000);
    if (!(await shown()).includes("You said: first")) throw new Error(`the conversation is gone after a restart (${checks} CHECK_TOKEN): ${await shown()}`);
    await say("second");
    await until("the second answer on the page", async () => (await shown()).includes("You said: second"), 20_000);
    const turns = has("html").map(({ content }) => content.text);
    const others = turns.filter((text) => !/^You said: (first|second)$/.test(text));
    if (others.length) throw new Error(`commands of the page were taken for turns: ${others}`);
    if (errors.length) throw new Error(`errors on the page: ${errors}`);
  } finally {
    await browser.close();
    backEnd.kill("SIGKILL");
    await gateway.stop();
  }
}

const skipping = (check) => async () => {
  try {
    await check();
  } catch (error) {
    if (!(error instanceof Skipped)) throw error;
    console.log(`SKIPPED ${error.message}`);
  }
};

run([
  ["the session page of the seed commit", skipping(() => sharedContext("532b756", "shared_context", 1))],
  ["the newest session page", skipping(() => sharedContext("HEAD", "shared_context_tools", 0))],
  ["AMIGA's dashboard.js: EventSource and Socket.IO over a restart", skipping(dashboard)],
  ["the kanban's websocketService: nothing twice over subscriptions and a restart", skipping(kanban)],
  ["the newest Monadic page's fragments in a tab that joins in the middle", skipping(monadicFragments)],
  ["the whole newest Monadic page in Chromium, over a restart", skipping(monadicPage)],
  ["polling first with WebSocket blocked, over a restart", skipping(pollingFirst)],
  ["pages without a key beside API keys", skipping(anonymousBesideKeys)],
  ["Product Demo's MCP context: tools over a restart", skipping(productMcp)],
]);
