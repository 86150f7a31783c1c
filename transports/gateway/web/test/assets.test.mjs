import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const root = new URL("../", import.meta.url);
const files = readdirSync(root).filter((name) => /\.(js|css|html|svg)$/.test(name));
const text = (name) => readFileSync(new URL(name, root), "utf8");
const scripts = files.filter((name) => name.endsWith(".js"));

test("no script can turn text into markup or code", () => {
  const forbidden = /innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|setHTML|srcdoc|\beval\b|new Function|setAttribute\("on|setTimeout\("|javascript:/;
  for (const name of [...scripts, "index.html"]) assert.doesNotMatch(text(name), forbidden, name);
});

test("the page has no inline script, style or handler, so that a strict policy holds", () => {
  const html = text("index.html");
  assert.doesNotMatch(html, /<style|\sstyle=|\son[a-z]+=/i);
  for (const [tag] of html.matchAll(/<script\b[^>]*>/g)) assert.match(tag, /\ssrc="assets\//);
  assert.doesNotMatch(html, /<script\b[^>]*>[^<]/);
});

test("nothing is fetched from anywhere else", () => {
  for (const name of files) {
    const found = [...text(name).matchAll(/(?:https?:)?\/\/[a-z0-9.-]+\.[a-z]{2,}[^\s"']*/gi)].map(([address]) => address).filter((address) => !address.startsWith("http://www.w3.org/2000/svg"));
    assert.deepEqual(found, [], name);
  }
  assert.doesNotMatch(text("inspector.css"), /url\(|@import/);
});

test("every asset that is named exists, and every asset that exists is named", () => {
  const html = text("index.html");
  const named = new Set([...html.matchAll(/(?:src|href)="assets\/([^"]+)"/g)].map(([, name]) => name));
  for (const name of scripts) for (const [, imported] of text(name).matchAll(/from "\.\/([^"]+)"/g)) named.add(imported);
  assert.deepEqual([...named].sort(), files.filter((name) => name !== "index.html").sort());
});

test("the client is the one that schemas/typescript builds, byte for byte", () => {
  const built = readFileSync(new URL("../../../schemas/typescript/dist/index.js", root), "utf8");
  assert.ok(text("eventwire.js") === built, "run `npm run build` in schemas/typescript");
});

test("only the client, the connection and the API code reach the network, and only the token code keeps anything", () => {
  for (const name of scripts) {
    // The client fetches nothing here: it is told to use WebSockets alone.
    if (name !== "api.js" && name !== "eventwire.js") assert.doesNotMatch(text(name), /\bfetch\(|sessionStorage|XMLHttpRequest|sendBeacon|document\.cookie/, name);
    if (name !== "api.js") assert.doesNotMatch(text(name), /sessionStorage|document\.cookie/, name);
    if (name !== "eventwire.js") assert.doesNotMatch(text(name), /\bWebSocket\(/, name);
    if (name !== "inspector.js" && name !== "theme.js") assert.doesNotMatch(text(name), /localStorage/, name);
  }
  for (const name of ["model.js", "timeline.js", "commands.js"]) assert.doesNotMatch(text(name), /\b(document|window|WebSocket|Date\.now|new Date\(\)|Math\.random|performance)\b[.(]/, name);
});

test("every id that scripts look up exists in the page once, and labels name controls that exist", () => {
  const html = text("index.html");
  const ids = [...html.matchAll(/\bid="([^"]+)"/g)].map(([, id]) => id);
  assert.equal(new Set(ids).size, ids.length, "ids are unique");
  for (const name of scripts) for (const [, id] of text(name).matchAll(/\$\("([a-z-]+)"\)/g)) assert.ok(ids.includes(id), `${name} looks up ${id}`);
});
