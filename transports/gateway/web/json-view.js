// JSON as a person reads it: colored, foldable, long strings cut with a button that shows the rest, line breaks in
// strings shown as line breaks. Everything is text.

import { h } from "./dom.js";
import { visible } from "./model.js";

const LONG_STRING = 2000;
const MANY_CHILDREN = 100;
const MOST_NODES = 4000;
const ONE_LINE = 64;

/** An element that shows `value`. */
export function jsonView(value) {
  const budget = { left: MOST_NODES };
  return h("div", { class: "json" }, node(value, 0, budget));
}

function node(value, depth, budget) {
  budget.left -= 1;
  if (value === null) return h("span", { class: "j-null" }, "null");
  switch (typeof value) {
    case "string":
      return stringNode(value);
    case "number":
      return h("span", { class: "j-number" }, String(value));
    case "boolean":
      return h("span", { class: "j-bool" }, String(value));
    default:
      return Array.isArray(value) ? container(value.map((item) => [null, item]), "[", "]", depth, budget) : container(Object.entries(value), "{", "}", depth, budget);
  }
}

// Tabs and line breaks stay what they are, other control characters are made visible.
function shown(text) {
  return text.split(/([\n\t])/).map((part) => (part === "\n" || part === "\t" ? part : visible(part))).join("");
}

function stringNode(text) {
  const span = h("span", { class: text.includes("\n") ? "j-string j-block" : "j-string" });
  if (text.length <= LONG_STRING) {
    span.textContent = `"${shown(text)}"`;
    return span;
  }
  const more = h("button", { type: "button", class: "quiet inline", on: { click: () => (span.textContent = `"${shown(text)}"`) } }, `show all ${text.length} characters`);
  span.append(`"${shown(text.slice(0, LONG_STRING))}`, "… ", more);
  return span;
}

// Containers of a few short scalars stand on one line.
function inline(entries, open, close, budget) {
  let length = 0;
  for (const [key, item] of entries) {
    if (item !== null && typeof item === "object" && Object.keys(item).length > 0) return null;
    if (typeof item === "string" && item.includes("\n")) return null;
    length += (key?.length ?? 0) + String(item).length + 6;
    if (length > ONE_LINE) return null;
  }
  const line = h("span", { class: "j-node" }, h("span", { class: "j-punct" }, `${open} `));
  for (const [index, [key, item]] of entries.entries()) {
    if (index > 0) line.append(h("span", { class: "j-punct" }, ", "));
    if (key !== null) line.append(h("span", { class: "j-key" }, `"${visible(key)}"`), h("span", { class: "j-punct" }, ": "));
    line.append(node(item, 0, budget));
  }
  line.append(h("span", { class: "j-punct" }, ` ${close}`));
  return line;
}

function container(entries, open, close, depth, budget) {
  if (entries.length === 0) return h("span", { class: "j-punct" }, open + close);
  const short = depth > 0 ? inline(entries, open, close, budget) : null;
  if (short !== null) return short;
  const body = h("div", { class: "j-body" });
  let built = false;
  const build = () => {
    if (built) return;
    built = true;
    for (const [index, [key, item]] of entries.entries()) {
      if (budget.left <= 0) {
        body.append(h("div", { class: "muted" }, `${entries.length - index} more: see raw`));
        break;
      }
      const line = h("div", { class: "j-line" });
      if (key !== null) line.append(h("span", { class: "j-key" }, `"${visible(key)}"`), h("span", { class: "j-punct" }, ": "));
      line.append(node(item, depth + 1, budget));
      if (index < entries.length - 1) line.append(h("span", { class: "j-punct" }, ","));
      body.append(line);
    }
  };
  const folded = h("span", { class: "muted", hidden: true }, ` ${entries.length} ${entries.length === 1 ? "entry" : "entries"} `);
  const toggle = h("button", { type: "button", class: "fold", "aria-expanded": "true", "aria-label": "fold", on: { click: () => set(toggle.getAttribute("aria-expanded") !== "true") } }, open);
  function set(wide) {
    if (wide) {
      budget.left = Math.max(budget.left, MANY_CHILDREN);
      build();
    }
    toggle.setAttribute("aria-expanded", String(wide));
    body.hidden = !wide;
    folded.hidden = wide;
  }
  set(entries.length <= MANY_CHILDREN || depth === 0);
  return h("span", { class: "j-node" }, toggle, folded, body, h("span", { class: "j-punct" }, close));
}
