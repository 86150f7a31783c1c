// The client in Chromium against a real gateway: the example page, from a static server of another origin, over both transports,
// with the network cut, the server killed, and transports that take turns in the middle of a stream.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { gateway, publish, until } from "../support/gateway.mjs";
import { check, complete, publisher } from "../support/oracle.mjs";
import { proxy } from "../support/proxy.mjs";

const here = fileURLToPath(new URL("../..", import.meta.url));
const TARGETS = ["adw:aaaaaaaa", "room:tasks", "global"];
let browser;
let pages;

before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  const kinds = { ".html": "text/html", ".js": "text/javascript" };
  pages = createServer(async (request, response) => {
    const path = normalize(new URL(request.url, "http://x").pathname);
    try {
      const body = await readFile(join(here, path));
      response.writeHead(200, { "content-type": kinds[extname(path)] ?? "application/octet-stream" }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => pages.listen(0, "127.0.0.1", resolve));
});
after(async () => {
  await browser?.close();
  pages?.closeAllConnections();
  pages?.close();
});

/** The example page, connected, with what its client is given written down. */
async function example(server) {
  const page = await browser.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(error.stack));
  await page.goto(`http://127.0.0.1:${pages.address().port}/example/index.html?server=${encodeURIComponent(server)}`);
  await page.locator("#state", { hasText: /^connected$/ }).waitFor({ timeout: 15_000 });
  await page.evaluate(async (targets) => {
    window.got = [];
    window.gaps = [];
    window.client.on("*", ({ to, seq, data }) => window.got.push({ to, seq, n: data.n }));
    window.client.on("gap", (gap) => window.gaps.push(gap));
    await window.client.subscribe(targets);
  }, TARGETS);
  const got = async () => {
    const all = new Map();
    for (const { to, ...rest } of await page.evaluate(() => window.got)) all.set(to, [...(all.get(to) ?? []), rest]);
    return all;
  };
  return { page, complaints, got, gaps: () => page.evaluate(() => window.gaps) };
}

test("the example page shows state, events and text that stays text", { timeout: 60_000 }, async () => {
  const server = await gateway();
  try {
    const { page, complaints } = await example(server.url);
    await publish(server.url, "adw:aaaaaaaa", { adw_id: "aaaaaaaa", content: "<img src=x onerror=document.title='owned'>" }, { type: "adw.text_block" });
    await page.locator("#events li", { hasText: "onerror" }).waitFor({ timeout: 15_000 });
    assert.equal(await page.locator("#events img").count(), 0);
    assert.equal(await page.locator("#transport").textContent(), "websocket");
    assert.equal(await page.locator("#quality").textContent(), "good");
    await page.click("#switch");
    await page.locator("#transport", { hasText: "sse" }).waitFor({ timeout: 15_000 });
    await page.click("#close");
    await page.locator("#state", { hasText: /^closed$/ }).waitFor({ timeout: 15_000 });
    await page.click("#start");
    await page.locator("#state", { hasText: /^connected$/ }).waitFor({ timeout: 15_000 });
    assert.deepEqual(complaints, []);
    await page.close();
  } finally {
    await server.kill();
  }
});

test("in Chromium, switches of the transport and cuts of the network lose nothing and repeat nothing", { timeout: 120_000 }, async () => {
  // The page waits as applications do, for seconds; the history must reach over that.
  const server = await gateway({ args: ["--history-events", "100000"] });
  const net = await proxy(server.port);
  const { page, complaints, got, gaps } = await example(net.url);
  const numbers = publisher(server.url, TARGETS, 4);
  try {
    const wanted = Number(process.env.BROWSER_SWITCHES ?? 300);
    const switches = await page.evaluate(async (wanted) => {
      const end = Date.now() + 45_000;
      let done = 0;
      while (done < wanted && Date.now() < end) {
        const there = new Promise((resolve) => {
          const off = window.client.on("state", ({ phase }) => phase === "connected" && (off(), resolve()));
        });
        window.client.switchTo(window.client.state.transport === "sse" ? "websocket" : "sse");
        await there;
        done += 1;
      }
      return done;
    }, wanted);
    for (let cut = 0; cut < 6; cut += 1) {
      await until(() => page.evaluate(() => window.client.state.phase === "connected"), "connected");
      // The client may be back before anybody asks.
      await page.evaluate(() => {
        window.lost = false;
        const off = window.client.on("state", ({ phase }) => phase !== "connected" && (off(), (window.lost = true)));
      });
      net.cut();
      await until(() => page.evaluate(() => window.lost), "cut");
    }
    const said = await numbers.stop();
    await until(async () => complete(said, await got()), "everything", 40_000);
    const count = check(said, await got());
    assert.deepEqual(await gaps(), []);
    assert.deepEqual(complaints, []);
    console.log(`Chromium: ${switches} of ${wanted} switches and 6 cuts, ${count} acknowledged events received once and in order`);
    assert.ok(switches >= Math.min(wanted, 50), `only ${switches} switches`);
  } finally {
    await numbers.stop();
    await page.close();
    await net.close();
    await server.kill();
  }
});

test("in Chromium, a server that is killed and started again has another history, and everything new arrives", { timeout: 60_000 }, async () => {
  let server = await gateway();
  const { page, got, gaps } = await example(server.url);
  try {
    for (const to of TARGETS) await publish(server.url, to, { n: 1 });
    await until(async () => [...(await got()).values()].flat().length === TARGETS.length, "the first events");
    await server.kill();
    await until(() => page.evaluate(() => window.client.state.phase !== "connected"), "noticed");
    server = await gateway({ port: server.port });
    for (const to of TARGETS) await publish(server.url, to, { n: 2 });
    await until(async () => [...(await got()).values()].flat().length === 2 * TARGETS.length, "the new events", 45_000);
    assert.deepEqual((await gaps()).map(({ stream, reason }) => `${stream} ${reason}`).sort(), TARGETS.map((to) => `${to} epoch_changed`).sort());
  } finally {
    await page.close();
    await server.kill();
  }
});

test("in Chromium, the network comes back: the client does not wait for its turn", { timeout: 60_000 }, async () => {
  const server = await gateway();
  const net = await proxy(server.port);
  const { page } = await example(net.url);
  try {
    net.set({ kind: "refuse" });
    net.cut();
    // Far enough into the backoff that chance cannot end the wait.
    await page.evaluate(() => (Math.random = () => 0.999999));
    await until(() => page.evaluate(() => window.client.state.phase === "reconnecting" && window.client.state.retryAt - Date.now() > 3_000), "a long wait", 40_000);
    net.set({ kind: "pass" });
    const early = await page.evaluate(() => {
      const { retryAt } = window.client.state;
      return new Promise((resolve) => {
        window.client.on("state", ({ phase }) => phase === "connected" && resolve(retryAt - Date.now()));
        window.dispatchEvent(new Event("online"));
      });
    });
    assert.ok(early > 0, "it waited to the end");
  } finally {
    await page.close();
    await net.close();
    await server.kill();
  }
});
