// The page to try an AMIGA connection with, in a real browser, against a running gateway:
//
//     node websocket-test.mjs <base URL> <artifacts directory>
//
// One line per check, then "N passed, N failed"; the exit status says the same. CHROMIUM names the browser (default
// /usr/bin/chromium).

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [base, artifacts] = process.argv.slice(2);
if (!base || !artifacts) {
  console.error("usage: node websocket-test.mjs <base URL> <artifacts directory>");
  process.exit(2);
}
await mkdir(artifacts, { recursive: true });
const origin = new URL("/", base);

let passed = 0;
let failed = 0;
async function check(claim, run) {
  try {
    await run();
    passed += 1;
    console.log(`ok    ${claim}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${claim}: ${String(error.message).split("\n").slice(0, 6).join(" | ")}`);
  }
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const context = await browser.newContext({ viewport: { width: 1200, height: 900 } });
context.setDefaultTimeout(15_000);
const complaints = [];
const elsewhere = [];
async function open() {
  const page = await context.newPage();
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => new URL(request.url()).host !== origin.host && elsewhere.push(request.url()));
  await page.goto(new URL("websocket-test", origin).href);
  return page;
}
const shows = (page, id, text) =>
  page.waitForFunction(([id, text]) => new RegExp(text).test(document.getElementById(id).textContent), [id, text]);
const text = (page, id) => page.locator(`#${id}`).textContent();

const one = await open();
const other = await open();

await check("a page connects by itself and is told its id, each its own", async () => {
  for (const page of [one, other]) {
    await shows(page, "state", "^connected$");
    await shows(page, "client", "^(?!none).{8,}$");
  }
  if ((await text(one, "client")) === (await text(other, "client"))) throw new Error("both have one id");
});

await check("subscribing shows the figures, and nobody else is shown any", async () => {
  await one.click("#subscribe");
  await shows(one, "subscription", "^24 h, every 2 s$");
  await shows(one, "metrics", "overview tasks total");
  await shows(one, "updates", "^1$");
  if ((await text(other, "updates")) !== "0") throw new Error("the other page was told");
});

await check("a refresh comes at once, an interval is cut to its range, an end is told", async () => {
  await one.click("#refresh");
  await shows(one, "updates", "^2$");
  await one.fill("#interval", "600");
  await one.click("#set_interval");
  await shows(one, "subscription", "every 60 s$");
  await one.click("#unsubscribe");
  await shows(one, "subscription", "^none$");
  await shows(one, "log", "unsubscribed");
});

await check("the page counts what it is sent, and comes back when it is told to", async () => {
  if (!(Number(await text(one, "received")) >= 5 && Number(await text(one, "bytes")) > 100)) throw new Error("nothing counted");
  const before = await text(one, "client");
  await one.click("#disconnect");
  await shows(one, "state", "^disconnected$");
  await one.click("#connect");
  await shows(one, "state", "^connected$");
  await shows(one, "client", "^(?!none).{8,}$");
  if ((await text(one, "client")) === before) throw new Error("it has the id of before");
});

await one.screenshot({ path: join(artifacts, "websocket-test.png"), fullPage: true });
await check("nothing was fetched from elsewhere, and nothing complained", async () => {
  if (elsewhere.length || complaints.length) throw new Error(JSON.stringify({ elsewhere, complaints }));
});

await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
