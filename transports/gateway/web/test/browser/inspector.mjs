// The inspector in a real browser, against a running gateway:
//
//     node inspector.mjs <base URL> <artifacts directory>
//
// One line per check, then "N passed, N failed"; the exit status says the same. CHROMIUM names the browser (default
// /usr/bin/chromium). Nothing here sleeps: whatever is waited for is waited for by name, with a bound.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [base, artifacts] = process.argv.slice(2);
if (!base || !artifacts) {
  console.error("usage: node inspector.mjs <base URL> <artifacts directory>");
  process.exit(2);
}
const origin = new URL("/", base).href;
const BOUND_MS = 30_000;
const HOSTILE = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`;
// One white pixel.
const PNG = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4////fwAJ+wP9CNHoHgAAAABJRU5ErkJggg==", "base64");

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

function equal(actual, expected, what) {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what}: expected ${b}, got ${a}`);
}

function truth(value, what) {
  if (!value) throw new Error(what);
}

/** Asks until the answer is true or the bound is over; each question is itself a round trip to the browser. */
async function until(ask, what) {
  const end = Date.now() + BOUND_MS;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`${what}: not within ${BOUND_MS / 1000} s`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789";
const newAdw = () => Array.from({ length: 8 }, () => alphabet[Math.floor(Math.random() * alphabet.length)]).join("");

async function publish(...items) {
  const response = await fetch(new URL("v1/events", origin), { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(items) });
  const body = await response.json();
  if (response.status !== 202) throw new Error(`publishing answered ${response.status}: ${JSON.stringify(body)}`);
  for (const result of body.results) if (result.error) throw new Error(`not published: ${JSON.stringify(result)}`);
  return body.results;
}
const event = (name, adw, data) => ({ type: `adw.${name}`, to: `adw:${adw}`, data: { adw_id: adw, ...data } });
const text = (adw, content) => event("text_block", adw, { content });

await mkdir(artifacts, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

const adw = newAdw();
const other = newAdw();

// Everything any page complains about. `expected` takes out what a check provokes on purpose.
const complaints = [];
async function open(options = {}, path = "", { expected = () => false, prepare = async () => {} } = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  context.setDefaultTimeout(BOUND_MS);
  await context.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
  });
  const page = await context.newPage();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !expected(message.text())) complaints.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`exception: ${error.stack}`));
  // The run of this test has no directory, so its one screenshot comes from here.
  await page.route(`**/v1/agents/${adw}/screenshots/01.png`, (route) => route.fulfill({ contentType: "image/png", body: PNG }));
  await prepare(page, context);
  await page.goto(origin + path);
  return page;
}
const violations = [];
async function close(page) {
  violations.push(...(await page.evaluate(() => window.violations)));
  await page.context().close();
}
const live = (page) => page.locator("#status-word", { hasText: /^live$/ }).waitFor();
const rows = (page) => page.locator("#tail .row:not([hidden])");
const row = (page, words) => rows(page).filter({ hasText: words }).first();
const show = (page, path) => page.evaluate((hash) => (location.hash = hash), `#/${path}`);
const lastCell = (page) => page.locator("#tail-count").textContent();
const shot = async (page, name) => writeFile(join(artifacts, `${name}.png`), await page.screenshot());

let page;

await check("the page is served with a policy that allows nothing inline and nothing from elsewhere", async () => {
  const response = await fetch(origin);
  equal(response.status, 200, "status");
  const policy = response.headers.get("content-security-policy") ?? "";
  truth(policy.includes("default-src 'none'") && !policy.includes("unsafe") && policy.includes("frame-ancestors 'none'"), `policy: ${policy}`);
  equal(response.headers.get("x-content-type-options"), "nosniff", "nosniff");
  equal(response.headers.get("referrer-policy"), "no-referrer", "referrer policy");
});

await check("the page connects and says so", async () => {
  page = await open({ colorScheme: "dark" });
  await live(page);
});
if (page === undefined) {
  console.log(`${passed} passed, ${failed} failed`);
  await browser.close();
  process.exit(1);
}

// ---------------------------------------------------------------------------------------------------- events

await check("a published event appears in the tail", async () => {
  await publish(text(adw, "first light"));
  await row(page, "first light").waitFor();
  const cells = await row(page, "first light").locator("> span").allTextContents();
  truth(/^\d\d:\d\d:\d\d\.\d{3}$/.test(cells[0]) && /^\d+$/.test(cells[1]), `time and seq: ${cells}`);
  equal(cells.slice(2, 4), ["adw.text_block", `adw:${adw}`], "type and audience");
});

await check("the filter by ADW shows that run alone", async () => {
  await publish(text(other, "of another run"), event("tool_use_pre", adw, { tool_name: "Read", tool_use_id: "f1", input: { file_path: "src/app.js" } }));
  await row(page, "of another run").waitFor();
  await page.selectOption("#filter-adw", adw);
  await until(async () => (await rows(page).count()) === 2, "two rows");
  equal(await rows(page).filter({ hasText: "of another run" }).count(), 0, "rows of the other run");
  truth(page.url().includes(`adw=${adw}`), "the filter is part of the address");
});

await check("the filters by type, family and text narrow further and are undone together", async () => {
  await page.selectOption("#filter-type", "adw.tool_use_pre");
  await until(async () => (await rows(page).count()) === 1, "one row by type");
  await page.selectOption("#filter-type", "");
  await page.selectOption("#filter-family", "connection");
  await page.getByText("No event passes these filters.").waitFor();
  await page.selectOption("#filter-family", "adw");
  await page.fill("#filter-text", "FIRST light");
  await until(async () => (await rows(page).count()) === 1 && (await row(page, "first light").isVisible()), "one row by text");
  await page.click("#clear-filters");
  await row(page, "of another run").waitFor();
});

await check("raw output is left out until it is asked for, and the list says that it is", async () => {
  const loud = newAdw();
  await publish(event("agent_output_chunk", loud, { agent_role: "planner", content: "verbatim line", is_complete: true }), text(loud, "beside the raw line"));
  await row(page, "beside the raw line").waitFor();
  equal(await rows(page).filter({ hasText: "verbatim line" }).count(), 0, "raw rows");
  truth(/1 raw output hidden/.test(await lastCell(page)), await lastCell(page));
  await page.locator("#filter-raw").check();
  await row(page, "verbatim line").waitFor();
  truth(page.url().includes("raw=1"), "the choice is part of the address");
  await page.locator("#filter-raw").uncheck();
  await until(async () => (await rows(page).filter({ hasText: "verbatim line" }).count()) === 0, "no raw rows");
});

await check("a hostile event is shown as its own text, in the list, the detail and the timeline", async () => {
  await publish(text(adw, HOSTILE));
  await row(page, "onerror").waitFor();
  truth((await row(page, "onerror").locator(".c-summary").textContent()).includes(HOSTILE), "the summary is the text itself");
  await row(page, "onerror").click();
  await page.locator("#detail .json").getByText("onerror").waitFor();
  await page.locator("#detail").getByRole("button", { name: "raw", exact: true }).click();
  await page.locator("#detail .raw", { hasText: "onerror" }).waitFor();
  await show(page, `runs/${adw}`);
  await page.locator(".kind-text", { hasText: "onerror" }).locator(".row-line").click();
  await page.locator(".kind-text .prose", { hasText: "onerror" }).waitFor();
  equal(await page.evaluate(() => [document.querySelectorAll("img[src='x'], main script").length, document.title.includes("owned")]), [0, false], "elements made from text");
  await show(page, "events");
});

await check("the detail shows the frame, folded and raw", async () => {
  await row(page, "first light").click();
  const detail = page.locator("#detail");
  await detail.locator(".j-string", { hasText: '"first light"' }).waitFor();
  await detail.getByRole("button", { name: "raw", exact: true }).click();
  const frame = JSON.parse(await detail.locator(".raw").textContent());
  equal([frame.type, frame.to, frame.data.content], ["adw.text_block", `adw:${adw}`, "first light"], "raw frame");
});

await check("pause stops the list and counts what waits, resume catches up", async () => {
  await page.click("#pause");
  await publish(text(adw, "while paused"));
  await until(async () => /paused, [1-9]/.test(await lastCell(page)), "a waiting event");
  equal(await rows(page).filter({ hasText: "while paused" }).count(), 0, "rows while paused");
  await page.click("#pause");
  await page.click("#follow");
  await row(page, "while paused").waitFor();
});

await check("keys reach the search, move in the list and close the detail", async () => {
  await page.locator("#tail").focus();
  await page.keyboard.press("/");
  equal(await page.evaluate(() => document.activeElement.id), "filter-text", "focus");
  await page.locator("#tail").focus();
  await page.keyboard.press("End");
  await page.locator("#tail [aria-selected=true]", { hasText: "while paused" }).waitFor();
  truth(await page.locator("#tail").getAttribute("aria-activedescendant"), "the active row is announced");
  await page.keyboard.press("ArrowUp");
  await until(async () => (await page.locator("#tail [aria-selected=true]", { hasText: "while paused" }).count()) === 0, "another row");
  await page.keyboard.press("Enter");
  truth(await page.evaluate(() => document.getElementById("detail").contains(document.activeElement)), "focus in the detail");
  await page.keyboard.press("Escape");
  await page.locator("#detail").waitFor({ state: "hidden" });
  equal(await page.evaluate(() => document.activeElement.id), "tail", "focus is back in the list");
});

await check("six thousand more events are kept within bounds, and few of them are drawn", async () => {
  const burst = newAdw();
  for (let batch = 0; batch < 6; batch += 1) await publish(...Array.from({ length: 1000 }, (_, i) => text(burst, `burst ${batch * 1000 + i}`)));
  await row(page, "burst 5999").waitFor();
  const [, kept] = /of (\d+) shown/.exec(await lastCell(page));
  truth(Number(kept) <= 5000 && Number(kept) >= 4500, `${kept} kept`);
  truth((await page.locator("#tail .row").count()) < 120, "rows in the document");
  equal(await page.locator("#tail-gaps").textContent(), "", "gaps");
});

await check("a filter says how far it looked, and finds older events when it is asked to look further", async () => {
  await show(page, `events?adw=${adw}&q=first+light`);
  await page.getByText("No event passes these filters.").waitFor();
  truth(/looked back to \d\d:\d\d:\d\d, seq \d+/.test(await lastCell(page)), await lastCell(page));
  await page.getByRole("button", { name: "load older" }).click();
  await row(page, "first light").waitFor();
  await page.getByText("looked at all the history").waitFor();
  await page.locator("#older").waitFor({ state: "hidden" });
  await show(page, "events");
});

await check("the rate counts events of the last seconds, not the history that a page begins with", async () => {
  const fresh = await open();
  await live(fresh);
  await rows(fresh).first().waitFor();
  const facts = () => fresh.locator("#status-facts").textContent();
  const [, first] = await until(async () => /([\d.]+) ev\/s/.exec(await facts()), "a rate");
  truth(Number(first) < 50, `${first} ev/s after 2000 events of the history`);
  const busy = newAdw();
  await publish(...Array.from({ length: 500 }, (_, i) => text(busy, `rate ${i}`)));
  await until(async () => Number(/([\d.]+) ev\/s/.exec(await facts())?.[1] ?? 0) >= 50, "a rate of live events");
  await close(fresh);
});

// ---------------------------------------------------------------------------------------------------- runs

await check("the timeline shows phases and joins tool calls to their results, out of order too", async () => {
  await publish(
    event("workflow_phase_transition", adw, { phase_to: "plan", workflow_name: "adw_sdlc_iso" }),
    event("tool_use_pre", adw, { tool_name: "Grep", tool_use_id: "t1", input: { pattern: "needle" } }),
    event("tool_use_pre", adw, { tool_name: "Bash", tool_use_id: "t2", input: { command: "make test" } }),
    event("tool_use_post", adw, { tool_name: "Bash", tool_use_id: "t2", success: false, error: "exit 2", output: "boom", duration_ms: 1234 }),
    event("tool_use_post", adw, { tool_name: "Grep", tool_use_id: "t1", success: true, output: "found", duration_ms: 35 }),
    event("workflow_phase_transition", adw, { phase_from: "plan", phase_to: "build", workflow_name: "adw_sdlc_iso" }),
    event("tool_use_pre", adw, { tool_name: "Edit", tool_use_id: "t3", input: { file_path: "src/lib.rs" } }),
    event("file_changed", adw, { file_path: "src/lib.rs", operation: "modified", diff: "@@ -1 +1 @@\n-old\n+new", lines_added: 1, lines_removed: 1 }),
    event("thinking_block", adw, { content: "which of the two" }),
  );
  await show(page, `runs/${adw}`);
  await page.locator("section.phase", { hasText: "which of the two" }).waitFor();
  equal(await page.locator(".strip b").allTextContents(), ["plan", "build", "test", "review", "document"], "strip");
  truth((await page.locator(".strip li.phase-done").count()) === 1 && (await page.locator(".strip li.phase-active").count()) === 1, "one phase done, one active");
  const call = async (words) => page.locator(".kind-tool", { hasText: words }).evaluate((item) => [item.querySelector(".i-kind").textContent, item.querySelector(".i-state").textContent, item.querySelector(".i-took").textContent]);
  equal(await call("needle"), ["Grep", "ok", "35 ms"], "first call");
  equal(await call("make test"), ["Bash", "failed", "1.2 s"], "second call");
  equal((await call("src/lib.rs")).slice(0, 2), ["Edit", "running"], "third call");
  equal(await page.locator(".kind-file .i-diff").textContent(), "+1 -1", "lines");
});

await check("times at which events were read are no durations, and what results state adds up in phases and run", async () => {
  const read = newAdw();
  const ended = (role, over) => event("agent_log", read, { event_category: "response", event_type: "result", level: "SUCCESS", message: `${role} ended`, agent_role: role, payload: { is_error: false, ...over } });
  const phase = (to, role) => event("workflow_phase_transition", read, { phase_to: to, agent_role: role });
  const call = (role, id) => [event("tool_use_pre", read, { tool_name: "Read", tool_use_id: id, input: { file_path: id }, agent_role: role }), event("tool_use_post", read, { tool_name: "Read", tool_use_id: id, success: true, output: "ok", agent_role: role })];
  await publish(
    phase("plan", "planner"), ...call("planner", "r1"), ended("planner", { duration_ms: 61_000, total_cost_usd: 0.25 }),
    phase("review", "reviewer"), ...call("reviewer", "r2"), ended("reviewer", { duration_ms: 62_000, total_cost_usd: 0.5, is_error: true }),
    phase("document", "documenter"), ...call("documenter", "r3"), event("text_block", read, { content: "the last word", agent_role: "documenter" }),
  );
  await show(page, `runs/${read}`);
  await page.locator("section.phase", { hasText: "the last word" }).waitFor();
  equal(await page.locator(".strip li").allTextContents(), ["plan1 m 01 s", "buildpending", "testpending", "reviewfailed, 1 m 02 s", "documentactive"], "strip");
  const title = await page.locator(".run-title").textContent();
  truth(title.includes("2 m 03 s of work") && title.includes("$0.7500") && title.includes("1 phase failed"), title);
  equal(await page.locator(".kind-tool .i-took").allTextContents(), ["", "", ""], "durations of calls");
  equal(await page.locator(".story .i-at").allTextContents().then((texts) => texts.filter(Boolean)), [], "offsets");
  truth(await page.locator(".strip .phase-failed", { hasText: "review" }).isVisible(), "the failed phase");
  await show(page, `runs/${adw}`);
  await page.locator("section.phase", { hasText: "which of the two" }).waitFor();
});

await check("a call opens to its input and output, a file change to its diff", async () => {
  await page.locator(".kind-tool", { hasText: "make test" }).locator(".row-line").click();
  await page.locator(".kind-tool .item-body", { hasText: "boom" }).waitFor();
  await page.locator(".kind-file .row-line").click();
  equal(await page.locator(".diff .plus").textContent(), "+new\n", "added line");
});

await check("kinds can be hidden, and failures shown alone", async () => {
  await page.getByRole("button", { name: "files", exact: true }).click();
  await page.locator(".kind-file").waitFor({ state: "detached" });
  await page.getByRole("button", { name: "failed only" }).click();
  await until(async () => (await page.locator(".story .item").count()) === 1, "one failure");
  await page.locator(".story .item", { hasText: "make test" }).waitFor();
  await page.getByRole("button", { name: "failed only" }).click();
  await page.getByRole("button", { name: "files", exact: true }).click();
  await page.locator(".kind-file").waitFor();
});

await check("a result that comes later ends the call in place", async () => {
  await publish(event("tool_use_post", adw, { tool_name: "Edit", tool_use_id: "t3", success: true, output: "done", duration_ms: 9 }));
  await page.locator(".kind-tool.good", { hasText: "src/lib.rs" }).waitFor();
});

await check("a screenshot becomes a thumbnail and opens", async () => {
  await publish(event("screenshot_available", adw, { screenshot_path: "reviewer/review_img/01.png", screenshot_type: "review" }));
  await page.locator(".gallery img[src^=blob]").waitFor();
  await page.locator(".gallery .thumb").click();
  await page.locator("#image-dialog[open] img").waitFor();
  await page.keyboard.press("Escape");
  await page.locator("#image-dialog").waitFor({ state: "hidden" });
});

await check("the beginning of a run is read from the history, by a page that came late", async () => {
  const late = await open({}, `#/runs/${adw}`);
  await late.locator("section.phase h3", { hasText: /^plan$/ }).waitFor();
  await late.locator(".kind-text", { hasText: "first light" }).waitFor();
  await close(late);
});

// ---------------------------------------------------------------------------------------------------- connections, console, why

let connection;
await check("the list of connections has this page in it", async () => {
  await show(page, "connections");
  const mine = page.locator("#connections-body tr.mine");
  await mine.waitFor();
  await mine.getByText("this page").waitFor();
  equal(await mine.locator(".chip").allTextContents(), ["*"], "subscriptions");
  connection = (await mine.locator("td").first().textContent()).match(/c[0-9a-f]{16}/)[0];
});

/** A connection of its own in another page: no observe, only what it subscribes to. */
async function listener(query) {
  const context = await browser.newContext();
  const listening = await context.newPage();
  await listening.goto(origin);
  await listening.evaluate(
    (path) =>
      new Promise((resolve, reject) => {
        const socket = new WebSocket(new URL(path, location.href.replace(/^http/, "ws")), ["eventwire.v1"]);
        window.heard = [];
        window.ended = null;
        socket.onclose = (event) => {
          window.ended = event.code;
          reject(new Error(`closed with ${event.code}`));
        };
        socket.onmessage = ({ data }) => {
          const frame = JSON.parse(data);
          window.heard.push(frame);
          if (frame.type === "connection.subscribed") resolve();
        };
      }),
    `v1/ws${query}`,
  );
  return listening;
}

await check("a connection is kicked from the list, after a second look", async () => {
  const victim = await listener(`?adw=${other}`);
  const id = await victim.evaluate(() => window.heard.find((frame) => frame.type === "connection.welcome").data.connection_id);
  const kick = page.getByRole("button", { name: `kick ${id}` });
  await kick.click();
  equal(await kick.textContent(), "sure?", "second look");
  await kick.click();
  await until(() => victim.evaluate(() => window.ended), "the end of the connection");
  equal(await victim.evaluate(() => window.ended), 1008, "close code");
  await kick.waitFor({ state: "detached" });
  await victim.context().close();
});

await check("subscribe is sent from its form and the reply is joined to it", async () => {
  await show(page, "console");
  await page.fill("input[aria-label='audience id']", "not-an-adw");
  await page.locator("#composer-problem", { hasText: "exactly 8" }).waitFor();
  await page.fill("input[aria-label='audience id']", adw);
  await page.click("#send");
  await page.locator("#transcript .line-in", { hasText: "connection.subscribed" }).waitFor();
  await page.locator("#subscriptions .chip", { hasText: `adw:${adw}` }).waitFor();
});

await check("unsubscribe undoes it", async () => {
  await page.getByLabel("unsubscribe", { exact: true }).check({ force: true });
  await page.click("#send");
  await page.locator("#transcript .line-in", { hasText: "connection.unsubscribed" }).waitFor();
  await page.locator("#subscriptions .chip", { hasText: `adw:${adw}` }).waitFor({ state: "detached" });
});

await check("ping and raw JSON are answered, and an unknown command gets an error as its reply", async () => {
  await page.getByLabel("ping", { exact: true }).check({ force: true });
  await page.fill("#ping-time", "4711");
  await page.click("#send");
  await page.locator("#transcript .line-in", { hasText: "connection.pong" }).filter({ hasText: "4711" }).waitFor();
  await page.getByLabel("raw JSON", { exact: true }).check({ force: true });
  await page.fill("#raw-text", '{"type":"no_such_command","id":"odd-1","data":{}}');
  await page.click("#send");
  await page.locator("#transcript .line-in", { hasText: "unknown_command" }).filter({ hasText: "odd-1" }).waitFor();
});

await check("publish works from the console, over a connection of its own nothing else is heard", async () => {
  await page.getByLabel("subscribe", { exact: true }).check({ force: true });
  await page.fill("input[aria-label='audience id']", other);
  await page.selectOption("#send-over", "own");
  await page.click("#send");
  await page.locator("#transcript .line-in", { hasText: "own connection" }).filter({ hasText: "connection.subscribed" }).waitFor();
  await page.getByLabel("publish", { exact: true }).check({ force: true });
  await page.fill("#publish-to", `adw:${other}`);
  await page.fill("#publish-data", JSON.stringify({ adw_id: other, content: "from the form" }));
  await publish(text(adw, "not for the second connection"));
  await page.click("#send");
  await page.locator("#transcript .line-in", { hasText: "own connection" }).filter({ hasText: "from the form" }).waitFor();
  equal(await page.locator("#transcript li", { hasText: "not for the second connection" }).count(), 0, "foreign events in the transcript");
});

await check("why: from a chosen event to the routing decision of this connection, with its checks", async () => {
  await show(page, `events?adw=${adw}`);
  await row(page, "not for the second connection").click();
  await page.locator("#tail").focus();
  await page.keyboard.press("w");
  const mine = page.locator(".explained", { hasText: connection });
  await mine.waitFor();
  equal(await mine.locator("summary b").textContent(), "delivered", "decision");
  truth((await mine.locator(".checks li").count()) > 0, "checks are listed");
  const said = await mine.locator(".because").textContent();
  truth(/^subscribed to \* by its command of \d\d:\d\d:\d\d UTC; its permission observe/.test(said), said);
  equal(await mine.locator(".chip").allTextContents(), ["*"], "subscriptions");
  truth((await mine.locator("summary").textContent()).includes("HeadlessChrome"), "the client is named");
  await page.selectOption("#why-connection", connection);
  await page.getByRole("button", { name: "explain" }).click();
  await until(async () => (await page.locator(".explained").count()) === 1, "one connection");
});

await check("why is asked from the row of an event, too", async () => {
  await show(page, `events?adw=${adw}`);
  await row(page, "not for the second connection").hover();
  await row(page, "not for the second connection").locator(".c-why").click();
  await page.locator(".explained", { hasText: connection }).waitFor();
  truth(page.url().includes("why?type=adw.text_block"), page.url());
});

await check("why: a connection that does not get it is told the reason", async () => {
  const stranger = await listener(`?adw=${other}`);
  const id = await stranger.evaluate(() => window.heard.find((frame) => frame.type === "connection.welcome").data.connection_id);
  await show(page, `why?type=adw.text_block&to=adw:${adw}&connection=${id}`);
  const answer = page.locator(".explained", { hasText: id });
  await answer.waitFor();
  equal(await answer.locator("summary b").textContent(), "withheld", "decision");
  truth((await answer.locator(".checks li.bad").count()) > 0, "a failed check is listed");
  equal(await answer.locator(".because").textContent(), `did not subscribe to adw:${adw}, only to other runs`, "what happened");
  await stranger.context().close();
});

// ---------------------------------------------------------------------------------------------------- isolation

await check("a second browser subscribed to another ADW sees none of the first one's events", async () => {
  const first = newAdw();
  const second = newAdw();
  const listening = await listener(`?adw=${second}`);
  await publish(text(first, "secret one"), event("agent_output_chunk", first, { agent_role: "planner", content: "secret two", is_complete: true }));
  await publish(event("agent_summary_update", first, { status: "in_progress" }), text(second, "fence"));
  const seen = await until(
    () => listening.evaluate(() => (window.heard.some((frame) => frame.data.content === "fence") ? window.heard.filter((frame) => !frame.type.startsWith("connection.")).map((frame) => [frame.to, frame.data.content]) : null)),
    "the fence",
  );
  equal(seen, [[`adw:${second}`, "fence"]], "what the second browser got");
  await listening.context().close();
});

// ---------------------------------------------------------------------------------------------------- reconnecting

await check("a lost connection comes back, resumes without a gap and without doubles", async () => {
  let sockets = [];
  let mayOpen = true;
  const torn = await open({}, "", {
    prepare: (tearing) =>
      tearing.routeWebSocket(/\/v1\/ws/, (socket) => {
        if (!mayOpen) {
          socket.close({ code: 1012, reason: "not yet" });
          return;
        }
        socket.connectToServer();
        sockets.push(socket);
      }),
  });
  await live(torn);
  const name = newAdw();
  await publish(text(name, "before"));
  await row(torn, "before").waitFor();
  mayOpen = false;
  for (const socket of sockets) await socket.close({ code: 1012, reason: "restart" });
  await torn.locator("#banner", { hasText: "the server restarts" }).waitFor();
  await publish(text(name, "meanwhile"));
  // Delays grow with every refusal. A click on a button that is about to go away would wait for it to come back,
  // so the button is pressed within the page, while the next attempt is some seconds away.
  await torn.waitForFunction(() => Number(/next in (\d+)/.exec(document.querySelector("#banner-action").textContent)?.[1] ?? 0) >= 3, null, { timeout: 60_000 });
  mayOpen = true;
  await torn.evaluate(() => document.querySelector("#banner-action").click());
  await live(torn);
  await publish(text(name, "after"));
  await show(torn, `events?adw=${name}`);
  await row(torn, "after").waitFor();
  const told = await rows(torn).locator(".c-summary").allTextContents();
  equal(told.filter((summary) => ["before", "meanwhile", "after"].includes(summary)), ["before", "meanwhile", "after"], "events in order");
  equal(await torn.locator("#tail-gaps").textContent(), "", "gaps");
  sockets = [];
  await close(torn);
});

await check("after close code 4003 the page says so and stays away", async () => {
  let opened = 0;
  const away = await open({}, "", {
    prepare: (refusing) =>
      refusing.routeWebSocket(/\/v1\/ws/, (socket) => {
        opened += 1;
        socket.close({ code: 4003, reason: "no observe" });
      }),
  });
  await away.locator("#banner", { hasText: "may not observe" }).waitFor();
  equal(await away.locator("#status-word").textContent(), "not permitted", "status");
  equal(opened, 1, "attempts");
  await close(away);
});

await check("a 401 asks for a token, which then goes with every request, in no address and in no lasting store", async () => {
  const seen = [];
  const asking = await open({}, "", {
    expected: (message) => message.includes("401") || message.includes("WebSocket"),
    prepare: async (guarded) => {
      await guarded.route("**/v1/agents", (route) => {
        const authorization = route.request().headers().authorization ?? null;
        seen.push(authorization);
        if (authorization === "Bearer tök/en+?") return route.fulfill({ json: { root: false, agents: [] } });
        return route.fulfill({ status: 401, json: { error: { code: "unauthorized", message: "a token is needed" } } });
      });
      await guarded.addInitScript(() => {
        const Original = window.WebSocket;
        window.asked = [];
        window.WebSocket = class extends Original {
          constructor(url, protocols) {
            super(protocols.length > 1 ? url : new URL("/refused", url), protocols.slice(0, 1));
            window.asked.push([String(url), ...protocols]);
          }
        };
      });
    },
  });
  // A path that is no socket stands in for an upgrade that is refused.
  await asking.locator("#token-dialog[open]").waitFor();
  await asking.fill("#token-input", "tök/en+?");
  await asking.getByRole("button", { name: "connect", exact: true }).click();
  await live(asking);
  const asked = await asking.evaluate(() => window.asked.at(-1));
  equal(asked.slice(1), ["eventwire.v1", `eventwire.token.${Buffer.from("tök/en+?").toString("base64url")}`], "subprotocols");
  truth(!asked[0].includes("token") && !asking.url().includes("token"), "the token is in no address");
  equal(await asking.evaluate(() => [localStorage.length, document.cookie, sessionStorage.getItem("eventwire.token")]), [0, "", "tök/en+?"], "stores");
  await asking.context().close();
});

// ---------------------------------------------------------------------------------------------------- looks

await check("dark and light follow the system, the button overrules it and is remembered", async () => {
  const light = await open({ colorScheme: "light" }, `#/runs/${adw}`);
  const ground = () => light.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await light.locator("section.phase").first().waitFor();
  const white = await ground();
  await shot(light, "runs-light");
  await show(light, "events");
  await rows(light).first().waitFor();
  await shot(light, "events-light");
  await light.click("#theme-button");
  equal(await ground(), white, "light chosen");
  await light.click("#theme-button");
  const dark = await ground();
  truth(dark !== white, "dark chosen");
  await light.reload();
  equal(await ground(), dark, "after a reload");
  await close(light);
  for (const [view, path, ready] of [["events", "events", "#tail .row"], ["runs", `runs/${adw}`, "section.phase"], ["connections", "connections", "tr.mine"], ["console", "console", "#transcript li"], ["why", `why?type=adw.text_block&to=adw:${adw}`, ".explained"]]) {
    await show(page, path);
    await page.locator(`#view-${view} ${ready}`).first().waitFor();
    await shot(page, `${view}-dark`);
  }
});

await check("nothing is cut off at 360 and nothing scrolls sideways at 1600 pixels, in any view", async () => {
  for (const [width, height] of [[360, 740], [1600, 900]]) {
    await page.setViewportSize({ width, height });
    for (const view of ["events", `runs/${adw}`, "connections", "console", `why?type=adw.text_block&to=adw:${adw}`]) {
      await show(page, view);
      await page.locator(`#view-${view.split(/[/?]/)[0]}`).waitFor();
      const wide = await page.evaluate(() => Math.max(document.documentElement.scrollWidth, ...[...document.querySelectorAll("main .view:not([hidden]) > *")].filter((element) => element.offsetParent !== null).map((element) => Math.round(element.getBoundingClientRect().right))));
      truth(wide <= width, `${view} is ${wide} wide at ${width}`);
      if (width === 360) await shot(page, `${view.split(/[/?]/)[0]}-narrow`);
    }
  }
});

await check("connections can be read at 390 pixels: a value is beside its label and on top of nothing", async () => {
  await page.setViewportSize({ width: 390, height: 844 });
  await show(page, "connections");
  const mine = page.locator("#connections-body tr.mine");
  await mine.waitFor();
  const clashes = await mine.evaluate((line) => {
    const boxes = [...line.querySelectorAll("td")].flatMap((cell) => {
      const range = document.createRange();
      return [...cell.children].map((child) => (range.selectNodeContents(child), { text: child.textContent, box: range.getBoundingClientRect() }));
    }).filter(({ text, box }) => text !== "" && box.width > 0);
    const found = boxes.filter(({ box }) => box.right > 390 || box.left < 0).map(({ text }) => `${text} leaves the page`);
    boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b) => {
      if (Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left) > 1 && Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top) > 1) found.push(`${a.text} lies on ${b.text}`);
    }));
    return found;
  });
  equal(clashes, [], "clashes");
  equal(await mine.evaluate((line) => [...line.querySelectorAll("td")].find((cell) => cell.dataset.label === "who").getBoundingClientRect().height < 80), true, "the user is on a line");
});

// What axe-core looks at: every view with something in it, and the dialogs.
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
for (const colorScheme of ["light", "dark"]) {
  await check(`axe-core finds nothing in any view, ${colorScheme}, at 1400, 900 and 390 pixels, and every view has one h1`, async () => {
    const looked = await open({ colorScheme }, `#/events?adw=${adw}`);
    await live(looked);
    await looked.evaluate(axe);
    const told = [];
    const look = async (what) => {
      await shot(looked, `${what.replace(" ", "-")}-${colorScheme}`);
      const violations = await looked.evaluate(async () => {
        const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
        return violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => node.target.join(" ")).join(", ")}`);
      });
      told.push(...violations.map((violation) => `${what}: ${violation}`));
      const headings = await looked.evaluate(() => [...document.querySelectorAll("h1")].filter((heading) => heading.getClientRects().length > 0).length);
      if (headings !== 1) told.push(`${what}: ${headings} h1`);
    };
    for (const width of [1400, 900, 390]) {
      await looked.setViewportSize({ width, height: 900 });
      await show(looked, `events?adw=${adw}`);
      await rows(looked).first().waitFor();
      await look(`events ${width}`);
      await rows(looked).last().click();
      await looked.locator("#detail .json").waitFor();
      await look(`event ${width}`);
      await looked.getByRole("button", { name: "Close detail" }).click();
      await show(looked, "runs");
      await look(`runs ${width}`);
      await show(looked, `runs/${adw}`);
      await looked.locator("section.phase", { hasText: "which of the two" }).waitFor();
      const line = looked.locator(".kind-tool button.row-line").first();
      if ((await line.getAttribute("aria-expanded")) === "false") await line.click();
      await look(`run ${width}`);
      await show(looked, "connections");
      await looked.locator("tr.mine").waitFor();
      await look(`connections ${width}`);
      await show(looked, "console");
      await look(`console ${width}`);
      await show(looked, "why");
      await looked.locator(".picks").waitFor();
      await look(`why ${width}`);
      await show(looked, `why?type=adw.text_block&to=adw:${adw}`);
      await looked.locator(".explained").first().waitFor();
      await look(`answer ${width}`);
    }
    await looked.evaluate(() => document.getElementById("token-button").click());
    await look("token");
    await looked.keyboard.press("Escape");
    await looked.evaluate(() => document.getElementById("help-button").click());
    await look("help");
    equal(told, [], "what axe-core says");
    await close(looked);
  });
}
await page.setViewportSize({ width: 1440, height: 900 });

await check("every control has a name, every view can be reached by key", async () => {
  for (const [key, view] of [["1", "events"], ["2", "runs"], ["3", "connections"], ["4", "console"], ["5", "why"]]) {
    await page.locator("#main").focus();
    await page.keyboard.press(key);
    await page.locator(`#view-${view}`).waitFor();
    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll("button, a[href], input, select, textarea, [role=listbox], [role=region]")]
        .filter((element) => element.offsetParent !== null)
        .filter((element) => !(element.textContent.trim() && !/^(SELECT|TEXTAREA)$/.test(element.tagName)) && !element.getAttribute("aria-label") && !element.getAttribute("aria-labelledby") && !(element.labels?.length > 0))
        .map((element) => element.outerHTML.slice(0, 120)),
    );
    equal(nameless, [], view);
  }
});

await close(page);
await check("no page complained in its console", async () => equal(complaints, [], "complaints"));
await check("the content security policy was never violated", async () => equal(violations, [], "violations"));

await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
