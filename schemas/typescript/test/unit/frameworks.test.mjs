// The React hooks, and the snippets for Vue and Svelte, with the real packages and a socket that is handed in.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import * as esbuild from "esbuild";
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

/** A server that keeps what is published, refuses some targets, and replays from where it is asked. */
function keeping({ refuses = [] } = {}) {
  const log = [];
  const open = new Set();
  const commands = [];
  class Socket {
    wanted = new Set();
    constructor() {
      open.add(this);
      setTimeout(() => this.say("connection.welcome", { epoch: "0123456789abcdef", server_time: "2026-11-21T00:00:00Z", heartbeat_interval_ms: 30000 }));
    }
    say(type, data, more = {}) {
      if (open.has(this)) this.onmessage?.({ data: JSON.stringify({ type, time: "2026-11-21T00:00:00Z", to: "connection:c", data, ...more }) });
    }
    send(text) {
      const { type, id, data } = JSON.parse(text);
      if (type === "ping") return this.say("connection.pong", { re: id });
      commands.push([type, ...data.streams.map(({ to }) => to)]);
      if (type === "unsubscribe") {
        for (const { to } of data.streams) this.wanted.delete(to);
        return this.say("connection.unsubscribed", { re: id, streams: data.streams });
      }
      const refused = data.streams.filter(({ to }) => refuses.includes(to)).map(({ to }) => ({ to, code: "forbidden", message: "not yours" }));
      const taken = data.streams.filter(({ to }) => !refuses.includes(to));
      this.say("connection.subscribed", { re: id, epoch: "0123456789abcdef", streams: taken.map(({ to }) => ({ to, head: log.length })), refused });
      for (const { to, since } of taken) {
        this.wanted.add(to);
        if (since === undefined) continue;
        this.say("connection.replaying", { stream: to, from: since });
        for (const event of log) if (event.to === to && event.seq > since) this.say("adw.text_block", event.data, event);
        this.say("connection.recovered", { stream: to, recovered: 0, upto: log.length });
      }
    }
    close() {
      open.delete(this);
    }
  }
  return {
    Socket,
    commands,
    publish(adw, content) {
      const to = `adw:${adw}`;
      const event = { to, seq: log.length + 1, prev: log.findLast((event) => event.to === to)?.seq ?? 0, data: { adw_id: adw, content } };
      log.push(event);
      for (const socket of open) if (socket.wanted.has(to)) socket.say("adw.text_block", event.data, event);
    },
    gap: (stream) => open.forEach((socket) => socket.say("connection.gap", { stream, reason: "slow_consumer", from_seq: 1, to_seq: 2 })),
  };
}

/** React with a page, for a test. */
async function page(run) {
  const clients = [];
  const window = new Window();
  Object.assign(globalThis, { window, document: window.document, navigator: window.navigator, IS_REACT_ACT_ENVIRONMENT: true });
  try {
    const react = await import("react");
    const { createRoot } = await import("react-dom/client");
    const node = window.document.createElement("div");
    const root = createRoot(node);
    await run({ ...react, h: react.createElement, node, root, clients, settle: () => react.act(tick) });
    await react.act(async () => root.unmount());
  } finally {
    // Also where the test failed: a client that stays would keep the process.
    for (const client of clients) client.close();
    delete globalThis.window;
    delete globalThis.document;
    delete globalThis.navigator;
    window.close();
  }
}

/** The example as an application builds it, with this package and the React of the tests. */
async function example() {
  const scratch = mkdtempSync(join(here, ".example-"));
  try {
    const { code } = await esbuild.transform(readFileSync(join(here, "example/react.tsx"), "utf8"), { loader: "tsx", jsx: "automatic", format: "esm" });
    writeFileSync(join(scratch, "react.mjs"), code);
    return (await import(pathToFileURL(join(scratch, "react.mjs")))).App;
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

test("React: the example shows two runs at once, each with its own lines, history first, each line once", async () => {
  const App = await example();
  await page(async ({ h, StrictMode, act, node, root, settle }) => {
    const server = keeping();
    for (let line = 0; line < 3; line += 1) for (const adw of ["aaaaaaaa", "bbbbbbbb"]) server.publish(adw, `${adw} ${line}`);
    const options = { WebSocket: server.Socket, transports: ["websocket"] };
    const show = (runs) => act(async () => root.render(h(StrictMode, null, h(App, { url: "http://localhost:1", runs, options }))));
    const lines = () => [...node.querySelectorAll("section")].map((section) => [...section.querySelectorAll("li")].map((li) => li.textContent));
    const expected = (count, adws = ["aaaaaaaa", "bbbbbbbb"]) => adws.map((adw) => Array.from({ length: count }, (_, line) => `${adw} ${line}`));
    await show(["aaaaaaaa", "bbbbbbbb"]);
    for (let turn = 0; turn < 100 && lines().flat().length < 6; turn += 1) await settle();
    assert.deepEqual(lines(), expected(3));
    for (let line = 3; line < 10; line += 1) await act(async () => ["bbbbbbbb", "aaaaaaaa"].forEach((adw) => server.publish(adw, `${adw} ${line}`)));
    assert.deepEqual(lines(), expected(10));
    // One goes, and comes back with its history; a second look at the other asks for its history once more.
    await show(["aaaaaaaa"]);
    await settle();
    assert.deepEqual(lines(), expected(10, ["aaaaaaaa"]));
    await show(["aaaaaaaa", "bbbbbbbb"]);
    for (let turn = 0; turn < 100 && lines().flat().length < 20; turn += 1) await settle();
    assert.deepEqual(lines(), expected(10));
    // What is missing of one run is told in that run.
    await act(async () => server.gap("adw:bbbbbbbb"));
    assert.deepEqual([...node.querySelectorAll("section")].map((section) => section.querySelectorAll("p").length), [0, 1]);
    assert.deepEqual(server.commands[0].sort(), ["adw:aaaaaaaa", "adw:bbbbbbbb", "global", "subscribe"], "one command for both");
  });
});

test("React: two components on one target from different beginnings have each line once; gaps, refusals and events reach the hook of their target", async () => {
  const { EventwireContext, useEvent, useEvents, useTarget } = await import("../../dist/react.js");
  await page(async ({ h, act, node, root, clients, settle }) => {
    const server = keeping({ refuses: ["adw:cccccccc"] });
    for (let line = 0; line < 3; line += 1) server.publish("aaaaaaaa", `${line}`);
    const client = createClient("http://localhost:1", { WebSocket: server.Socket, transports: ["websocket"] });
    clients.push(client);
    client.start();
    const seen = [];
    function List({ id, ...options }) {
      const { events } = useEvents("adw:aaaaaaaa", options);
      return h("i", { id }, events.map(({ data }) => data.content).join(""));
    }
    function Ears({ adw }) {
      const { gap, refused } = useTarget(`adw:${adw}`);
      useEvent("adw.text_block", ({ data }) => seen.push(`${adw} ${data.content}`), { to: `adw:${adw}` });
      useEvent("gap", ({ to }) => seen.push(`${adw} gap ${to}`), { to: `adw:${adw}` });
      useEvent("refused", ({ to }) => seen.push(`${adw} refused ${to}`), { to: `adw:${adw}` });
      return h("b", { id: adw }, gap ? "gap" : refused ? refused.code : "");
    }
    const text = (id) => node.querySelector(`#${id}`)?.textContent;
    const show = (...parts) => act(async () => root.render(h(EventwireContext.Provider, { value: client }, ...parts)));
    const early = h(List, { key: 1, id: "early" });
    await show(early);
    for (let turn = 0; turn < 20; turn += 1) await settle();
    await act(async () => server.publish("aaaaaaaa", "3"));
    assert.equal(text("early"), "3");
    // The history that the second one wants does not come to the first.
    await show(early, h(List, { key: 2, id: "late", since: 0 }), h(List, { key: 3, id: "two", since: 0, limit: 2 }), ...["aaaaaaaa", "bbbbbbbb", "cccccccc"].map((adw) => h(Ears, { key: adw, adw })));
    for (let turn = 0; turn < 5; turn += 1) await settle();
    await act(async () => ["aaaaaaaa", "bbbbbbbb"].forEach((adw) => server.publish(adw, "4")));
    assert.deepEqual([text("early"), text("late"), text("two")], ["34", "01234", "34"]);
    await act(async () => server.gap("adw:bbbbbbbb/raw"));
    assert.deepEqual(["aaaaaaaa", "bbbbbbbb", "cccccccc"].map(text), ["", "gap", "forbidden"]);
    assert.deepEqual(seen.filter((line) => !/^aaaaaaaa [0-3]$/.test(line)), ["cccccccc refused adw:cccccccc", "aaaaaaaa 4", "bbbbbbbb 4", "bbbbbbbb gap adw:bbbbbbbb"]);
    // One of several that share a target goes, and the others stay.
    await show(early);
    await settle();
    await act(async () => server.publish("aaaaaaaa", "5"));
    assert.equal(text("early"), "345");
    assert.deepEqual(client.targets, ["adw:aaaaaaaa"]);
    await act(async () => client.close());
  });
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
    const offs = [connectionState(client).subscribe(({ phase }) => phases.push(phase)), newest(client, "adw.text_block", { limit: 2 }).subscribe((all) => (lines = all.map((event) => event.data.content)))];
    client.start();
    await tick();
    for (const [index, content] of ["one", "two", "three"].entries()) server.publish(content, index + 1);
    assert.deepEqual(lines, ["two", "three"]);
    offs.forEach((off) => off());
    client.close();
    assert.deepEqual([...new Set(phases)], ["idle", "connecting", "connected"]);
  });
});

/** Two runs with a history of three lines each, and a client that may not see a third. */
function twoRuns() {
  const server = keeping({ refuses: ["adw:cccccccc"] });
  const both = (line) => ["aaaaaaaa", "bbbbbbbb"].forEach((adw) => server.publish(adw, `${adw} ${line}`));
  for (let line = 0; line < 3; line += 1) both(line);
  return { server, both, lines: (adw, count) => Array.from({ length: count }, (_, line) => `${adw} ${line}`) };
}
const contents = (events) => events.map(({ data }) => data.content);

test("Vue: two runs at once, each with its own lines, history first, each line once; gaps and refusals at their target", async () => {
  await snippet("vue", async ({ useEventwire, useEvent, useEvents, useTarget }) => {
    const { effectScope, ref } = await import("vue");
    const { server, both, lines } = twoRuns();
    const scope = effectScope();
    const seen = [];
    const [one, other, count, none, moved] = scope.run(() => {
      const { client } = useEventwire("http://localhost:1", { WebSocket: server.Socket, transports: ["websocket"] });
      useEvent(client, "adw.text_block", ({ data }) => seen.push(data.content), { to: "adw:bbbbbbbb" });
      return [
        useEvents(client, "adw:aaaaaaaa", { since: 0 }),
        useEvents(client, "adw:bbbbbbbb", { since: 0, limit: 2 }),
        useEvents(client, "adw:aaaaaaaa", { since: 0, reduce: (sum) => sum + 1, initial: 0 }),
        useTarget(client, "adw:cccccccc"),
        ref("adw:aaaaaaaa"),
      ];
    });
    await tick();
    both(3);
    assert.deepEqual(contents(one.events.value), lines("aaaaaaaa", 4));
    assert.deepEqual(contents(other.events.value), lines("bbbbbbbb", 4).slice(-2));
    assert.equal(count.state.value, 4);
    assert.deepEqual(seen, lines("bbbbbbbb", 4));
    assert.equal(none.refused.value.code, "forbidden");
    server.gap("adw:bbbbbbbb");
    assert.deepEqual([one, other, count, none].map(({ gap }) => gap.value?.to), [undefined, "adw:bbbbbbbb", undefined, undefined]);
    // Another target begins anew.
    const inner = scope.run(() => effectScope());
    const client = inner.run(() => useEventwire("http://localhost:1", { WebSocket: server.Socket, transports: ["websocket"] }).client);
    const list = inner.run(() => useEvents(client, moved, { since: 0 }));
    await tick();
    assert.deepEqual(contents(list.events.value), lines("aaaaaaaa", 4));
    moved.value = "adw:bbbbbbbb";
    assert.deepEqual(list.events.value, []);
    await tick();
    assert.deepEqual(contents(list.events.value), lines("bbbbbbbb", 4));
    assert.deepEqual(client.targets, ["adw:bbbbbbbb"]);
    scope.stop();
    both(4);
    assert.deepEqual(contents(one.events.value), lines("aaaaaaaa", 4));
  });
});

test("Svelte: two runs at once, each with its own lines, history first, each line once; gaps and refusals at their target", async () => {
  await snippet("svelte", async ({ newest, reduced, targetEvents }) => {
    const { server, both, lines } = twoRuns();
    const client = createClient("http://localhost:1", { WebSocket: server.Socket, transports: ["websocket"] });
    try {
      client.start();
      const now = {};
      const listen = (name, store) => store.subscribe((value) => (now[name] = value));
      const offs = [
        listen("one", targetEvents(client, "adw:aaaaaaaa", { since: 0 })),
        listen("other", targetEvents(client, "adw:bbbbbbbb", { since: 0, limit: 2 })),
        listen("count", reduced(client, "adw:aaaaaaaa", { since: 0, reduce: (sum) => sum + 1, initial: 0 })),
        listen("none", targetEvents(client, "adw:cccccccc")),
        listen("heard", newest(client, "adw.text_block", { to: "adw:bbbbbbbb" })),
      ];
      await tick();
      both(3);
      assert.deepEqual(contents(now.one.state), lines("aaaaaaaa", 4));
      assert.deepEqual(contents(now.other.state), lines("bbbbbbbb", 4).slice(-2));
      assert.equal(now.count.state, 4);
      assert.deepEqual(contents(now.heard), lines("bbbbbbbb", 4));
      assert.equal(now.none.refused.code, "forbidden");
      server.gap("adw:bbbbbbbb");
      assert.deepEqual(["one", "other", "count", "none"].map((name) => now[name].gap?.to), [undefined, "adw:bbbbbbbb", undefined, undefined]);
      // Without subscribers the target is given up; a new one begins anew.
      offs.forEach((off) => off());
      await tick();
      assert.deepEqual(client.targets, []);
      const off = listen("again", targetEvents(client, "adw:aaaaaaaa", { since: 0 }));
      await tick();
      assert.deepEqual(contents(now.again.state), lines("aaaaaaaa", 4));
      off();
    } finally {
      client.close();
    }
  });
});
