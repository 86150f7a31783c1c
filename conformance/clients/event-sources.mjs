// Published clients of server-sent events against a gateway, each cut off at every block border (SSE-02, SSE-09).
//
//   node event-sources.mjs GATEWAY_URL PYTHON
//
// Between client and gateway is a relay that ends the first connection after a number of blocks. What is published while the
// client is away must arrive once, in order; no client may dispatch an event without data. Everything runs at the same time,
// because every client waits two seconds before it returns.

import { spawn } from "node:child_process";
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";

import polyfill from "event-source-polyfill";
import { EventSource } from "eventsource";
import { createEventSource } from "eventsource-client";
import { chromium } from "playwright-core";

const [gateway, python] = process.argv.slice(2);
const { hostname, port } = new URL(gateway);
const PATIENCE_MS = 60_000;
/** Blocks after which the first connection ends: in the first one, after welcome, after subscribed, after each of three events. */
const CUTS = [0, 1, 2, 3, 4, 5];

// What @microsoft/fetch-event-source expects of a browser.
globalThis.window ??= globalThis;
globalThis.document ??= { hidden: false, addEventListener() {}, removeEventListener() {} };
const { fetchEventSource } = await import("@microsoft/fetch-event-source");

/** A relay whose first connection ends after `cut` blocks; `cut` is -1 for never. */
function relay(cut) {
  const state = { blocks: 0, connections: 0, wasCut: cut < 0, heads: [] };
  const server = createServer((client) => {
    const first = state.connections++ === 0;
    const upstream = connect(Number(port), hostname);
    const end = () => (client.destroy(), upstream.destroy());
    client.on("error", end).on("close", end);
    upstream.on("error", end).on("close", end);
    client.once("data", (head) => state.heads.push(String(head).split("\r\n\r\n")[0]));
    client.on("data", (bytes) => upstream.write(bytes));
    let rest = "";
    upstream.on("data", (bytes) => {
      if (!first || state.wasCut) return void client.write(bytes);
      rest += bytes.toString("latin1");
      for (;;) {
        // The body is chunked, and a chunk may end anywhere; an empty line is a border wherever it is.
        const headEnd = state.headSeen ? 0 : rest.indexOf("\r\n\r\n") + 4;
        if (!state.headSeen && headEnd < 4) return;
        if (!state.headSeen) {
          client.write(rest.slice(0, headEnd), "latin1");
          rest = rest.slice(headEnd);
          state.headSeen = true;
        }
        if (state.blocks === cut) {
          state.wasCut = true;
          return void client.end(end);
        }
        const border = rest.indexOf("\n\n");
        if (border < 0) return void (cut > 0 && rest.length > 0 && (client.write(rest, "latin1"), (rest = "")));
        client.write(rest.slice(0, border + 2), "latin1");
        rest = rest.slice(border + 2);
        state.blocks += 1;
      }
    });
  });
  return new Promise((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve({ state, server, url: `http://127.0.0.1:${server.address().port}` })),
  );
}

async function publish(room, n) {
  const event = { type: "_test.event", to: `room:${room}`, data: { n } };
  const answer = await fetch(`${gateway}/v1/events`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(event),
  });
  if (answer.status !== 202) throw new Error(`published: ${answer.status} ${await answer.text()}`);
}

async function until(what, holds) {
  const end = Date.now() + PATIENCE_MS;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`not within ${PATIENCE_MS} ms: ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-dev-shm-usage"],
});

/** Each client: opens `url`, hands every dispatched event's data to `take`, gives a function that closes. */
const CLIENTS = {
  eventsource(url, take) {
    const source = new EventSource(url);
    source.onmessage = (event) => take(event.data);
    return () => source.close();
  },
  "eventsource-client"(url, take) {
    const source = createEventSource({ url, onMessage: (event) => take(event.data) });
    return () => source.close();
  },
  "event-source-polyfill"(url, take) {
    const source = new polyfill.EventSourcePolyfill(url);
    source.onmessage = (event) => take(event.data);
    return () => source.close();
  },
  "fetch-event-source"(url, take) {
    const ended = new AbortController();
    fetchEventSource(url, {
      signal: ended.signal,
      openWhenHidden: true,
      onmessage: (event) => take(event.data),
      // The end of the stream is a reason to come back, as it is for EventSource.
      onclose: () => {
        throw new Error("closed");
      },
      onerror: () => {},
    });
    return () => ended.abort();
  },
  async chromium(url, take) {
    const page = await browser.newPage();
    // A page of another port of this machine is an allowed origin.
    await page.goto(`${gateway}/health`);
    await page.exposeFunction("take", take);
    await page.evaluate((address) => {
      new EventSource(address).onmessage = (event) => window.take(event.data);
    }, url);
    return () => page.close();
  },
};
for (const name of ["httpx-sse", "aiohttp-sse-client", "requests-sse"]) {
  CLIENTS[name] = (url, take) => {
    const program = spawn(python, ["-u", new URL("event_sources.py", import.meta.url).pathname, name, url], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    createInterface({ input: program.stdout }).on("line", (line) => take(JSON.parse(line)));
    return () => program.kill("SIGKILL");
  };
}

async function play(name, cut) {
  const { state, server, url } = await relay(cut);
  const room = `${name}-${cut}`;
  const seen = [];
  const empty = [];
  const take = (data) => {
    if (!data) return void empty.push(seen.length);
    const event = JSON.parse(data);
    if (event.type === "_test.event") seen.push(event.data.n);
    else seen.welcomed ||= event.type === "connection.welcome";
  };
  const close = await CLIENTS[name](`${url}/v1/sse?to=room:${room}`, take);
  const described = () => `${name}, cut after ${cut} blocks: ${JSON.stringify({ ...state, seen })}`;
  try {
    // Three events come before the last cuts, the others are away for some of them.
    if (cut !== 0) await until(described, () => seen.welcomed || state.wasCut);
    if (cut < 0 || cut > 1) await until(described, () => state.blocks >= 2 || state.wasCut || cut < 0);
    if (cut > 2) for (let n = 0; n < 3; n += 1) await publish(room, n);
    await until(described, () => state.wasCut);
    // A client that had dispatched nothing before the cut is new when it comes again.
    await until(described, () => seen.welcomed);
    for (let n = cut > 2 ? 3 : 0; n < 6; n += 1) await publish(room, n);
    await until(described, () => seen.at(-1) === 5);
    const wanted = [0, 1, 2, 3, 4, 5].join();
    if (seen.join() !== wanted) throw new Error(`${described()}: expected ${wanted}`);
    if (empty.length > 0) throw new Error(`${described()}: ${empty.length} events without data`);
    if (cut >= 0 && state.connections < 2) throw new Error(`${described()}: never came back`);
    console.log(`ok      ${name}, cut after ${cut} blocks`);
  } catch (error) {
    process.exitCode = 1;
    console.log(`not ok  ${error.message}`);
  } finally {
    await close();
    server.close();
  }
}

const only = process.env.ONLY?.split(",") ?? Object.keys(CLIENTS);
await Promise.all(only.flatMap((name) => CUTS.map((cut) => play(name, cut))));
await browser.close();
console.log(`${only.length} clients, ${CUTS.length} cuts each`);
process.exit();
