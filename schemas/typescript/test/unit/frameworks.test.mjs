// The React hooks, and the snippets for Vue and Svelte, with the real packages and a socket that is handed in.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import { Window } from "happy-dom";
import ts from "typescript";

import { createClient } from "../../dist/index.js";

const here = fileURLToPath(new URL("../..", import.meta.url));
const tick = () => new Promise((resolve) => setTimeout(resolve, 20));

/** A server in a class: says welcome, accepts what is asked, and counts who is there. */
function sockets() {
  const open = new Set();
  let made = 0;
  const commands = [];
  class Socket {
    constructor() {
      made += 1;
      open.add(this);
      setTimeout(() => this.say("connection.welcome", { epoch: "0123456789abcdef", server_time: "2026-11-21T00:00:00Z", heartbeat_interval_ms: 30000 }));
    }
    say(type, data, more = {}) {
      if (open.has(this)) this.onmessage?.({ data: JSON.stringify({ type, time: "2026-11-21T00:00:00Z", to: "connection:c", data, ...more }) });
    }
    send(text) {
      const { type, id, data } = JSON.parse(text);
      commands.push({ type, targets: data?.streams?.map(({ to }) => to) });
      if (type === "subscribe") this.say("connection.subscribed", { re: id, epoch: "0123456789abcdef", streams: data.streams.map(({ to }) => ({ to, head: 0 })), refused: [] });
      else if (type === "unsubscribe") this.say("connection.unsubscribed", { re: id, streams: data.streams });
      else this.say("connection.pong", { re: id, server_time: "2026-11-21T00:00:00Z" });
    }
    close() {
      open.delete(this);
    }
  }
  return { Socket, open, commands, get made() { return made; }, publish: (content, seq) => open.forEach((socket) => socket.say("adw.text_block", { adw_id: "aaaaaaaa", content }, { to: "adw:aaaaaaaa", seq, prev: seq - 1 })) };
}

test("React: in strict mode one connection stays, state and events are shown, and nothing is left behind", async () => {
  const window = new Window();
  Object.assign(globalThis, { window, document: window.document, navigator: window.navigator, IS_REACT_ACT_ENVIRONMENT: true });
  try {
    const { createElement: h, StrictMode, useState, act } = await import("react");
    const { createRoot } = await import("react-dom/client");
    const { useConnectionState, useEvent, useEventwire, useQuality, useTarget, EventwireContext } = await import("../../dist/react.js");
    const server = sockets();
    function Lines() {
      const [lines, setLines] = useState([]);
      useTarget("adw:aaaaaaaa");
      useEvent("adw.text_block", (event) => setLines([...lines, event.data.content]));
      return h("p", null, lines.join(" "));
    }
    function App() {
      const client = useEventwire("http://localhost:1", { WebSocket: server.Socket, transports: ["websocket"] });
      return h(EventwireContext.Provider, { value: client }, h("b", null, useConnectionState(client).phase), h("i", null, useQuality(client)), h(Lines), h(Lines));
    }
    const node = window.document.createElement("div");
    const root = createRoot(node);
    await act(async () => {
      root.render(h(StrictMode, null, h(App)));
      await tick();
    });
    for (let turn = 0; turn < 100 && node.querySelector("b").textContent !== "connected"; turn += 1) await act(tick);
    assert.equal(server.made, 1, "sockets that were opened");
    assert.equal(node.querySelector("b").textContent, "connected");
    assert.equal(node.querySelector("i").textContent, "good");
    for (const [index, content] of ["one", "two"].entries()) await act(async () => server.publish(content, index + 1));
    assert.deepEqual([...node.querySelectorAll("p")].map((p) => p.textContent), ["one two", "one two"]);
    await act(async () => root.unmount());
    await tick();
    assert.equal(server.open.size, 0, "sockets that stay");
  } finally {
    delete globalThis.window;
    delete globalThis.document;
    delete globalThis.navigator;
    window.close();
  }
});

test("React: a server renders the state without connecting", async () => {
  const { createElement: h } = await import("react");
  const { renderToString } = await import("react-dom/server");
  const { useConnectionState, useEventwire } = await import("../../dist/react.js");
  const server = sockets();
  const App = () => h("b", null, useConnectionState(useEventwire("http://localhost:1", { WebSocket: server.Socket })).phase);
  assert.equal(renderToString(h(App)), "<b>idle</b>");
  assert.equal(server.made, 0);
});

/** Compiles a snippet as it would be copied, type-checked, and imports it. */
async function snippet(name, run) {
  const scratch = mkdtempSync(join(here, ".snippet-"));
  try {
    const path = join(scratch, `${name}.mts`);
    writeFileSync(path, readFileSync(join(here, "snippets", `${name}.ts`), "utf8"));
    const options = { strict: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, lib: ["lib.es2022.d.ts", "lib.dom.d.ts"], types: [], skipLibCheck: true };
    const program = ts.createProgram([path], options);
    assert.deepEqual(ts.getPreEmitDiagnostics(program).map((it) => ts.flattenDiagnosticMessageText(it.messageText, "\n")), []);
    program.emit();
    await run(await import(pathToFileURL(join(scratch, `${name}.mjs`))));
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

test("Vue: the copied composable type-checks, is reactive, and closes with its scope", async () => {
  await snippet("vue", async ({ useEventwire, useEvent }) => {
    const { effectScope } = await import("vue");
    const server = sockets();
    const scope = effectScope();
    const seen = [];
    const { state } = scope.run(() => {
      const made = useEventwire("http://localhost:1", { WebSocket: server.Socket, transports: ["websocket"], targets: ["adw:aaaaaaaa"] });
      useEvent(made.client, "adw.text_block", (event) => seen.push(event.data.content));
      return made;
    });
    await tick();
    assert.equal(state.value.phase, "connected");
    server.publish("one", 1);
    assert.deepEqual(seen, ["one"]);
    scope.stop();
    assert.equal(server.open.size, 0);
  });
});

test("Svelte: the copied stores type-check and follow the client while somebody is subscribed", async () => {
  await snippet("svelte", async ({ connectionState, newest }) => {
    const server = sockets();
    const client = createClient("http://localhost:1", { WebSocket: server.Socket, transports: ["websocket"], targets: ["adw:aaaaaaaa"] });
    const phases = [];
    let lines;
    const offs = [connectionState(client).subscribe(({ phase }) => phases.push(phase)), newest(client, "adw.text_block", 2).subscribe((all) => (lines = all.map((event) => event.data.content)))];
    client.start();
    await tick();
    for (const [index, content] of ["one", "two", "three"].entries()) server.publish(content, index + 1);
    assert.deepEqual(lines, ["two", "three"]);
    offs.forEach((off) => off());
    client.close();
    assert.deepEqual([...new Set(phases)], ["idle", "connecting", "connected"]);
  });
});
