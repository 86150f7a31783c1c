// The live tail: a list that draws only the rows in sight, its filters, and the detail of one event.

import { $, choose, copyButton, h, setOptions, setText } from "./dom.js";
import { jsonView } from "./json-view.js";
import { bytes, clock, isFiltered, NO_FILTER, TailView } from "./model.js";

const OVERSCAN = 8;
// Entries kept at most when older ones are read on purpose.
const MOST_LOADED = 50_000;
const RAW = "adw.agent_output_chunk";

export class EventsView {
  #selected = null;
  #follow = true;
  #pool = [];
  #rowHeight = 24;
  #busy = false;
  #loading = false;

  constructor(app) {
    this.app = app;
    this.element = $("view-events");
    this.list = $("tail");
    this.spacer = $("tail-spacer");
    this.view = new TailView(app.tail);
    this.list.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.list.addEventListener("click", (event) => this.#clicked(event));
    this.list.addEventListener("keydown", (event) => this.#key(event));
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#selected !== null && event.target.tagName !== "INPUT") this.select(null);
    });
    new ResizeObserver(() => {
      // Hidden views have no size; the height of a row depends on the width.
      if (this.list.clientHeight === 0) return;
      this.#rowHeight = Number.parseFloat(getComputedStyle(this.list).getPropertyValue("--row")) || this.#rowHeight;
      this.refresh();
    }).observe(this.list);
    $("filters").addEventListener("submit", (event) => event.preventDefault());
    for (const id of ["filter-family", "filter-type", "filter-adw", "filter-own", "filter-raw"]) $(id).addEventListener("change", () => this.#filtersChanged());
    let typing = null;
    $("filter-text").addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => this.#filtersChanged(), 120);
    });
    $("clear-filters").addEventListener("click", () => app.go("events", {}));
    $("pause").addEventListener("click", () => this.togglePause());
    $("follow").addEventListener("click", () => this.toggleFollow());
    $("older").addEventListener("click", () => this.#older());
    $("clear").addEventListener("click", () => {
      app.tail.clear();
      if (this.view.paused) this.togglePause();
      this.select(null);
      app.refresh();
    });
  }

  /** Shows the view with the filters that the address names. */
  show(params) {
    const filter = { ...NO_FILTER, family: params.get("family") ?? "", type: params.get("type") ?? "", adw: params.get("adw") ?? "", text: params.get("q") ?? "", own: params.get("own") === "1", raw: params.get("raw") === "1" };
    this.#menus();
    choose($("filter-family"), filter.family);
    choose($("filter-type"), filter.type);
    choose($("filter-adw"), filter.adw);
    if (document.activeElement !== $("filter-text")) $("filter-text").value = filter.text;
    $("filter-own").checked = filter.own;
    $("filter-raw").checked = filter.raw;
    this.view.setFilter(filter);
    $("clear-filters").hidden = !isFiltered(filter);
    this.refresh();
  }

  refresh() {
    this.#menus();
    const anchor = this.#follow ? null : this.#anchor();
    const { removed, reset } = this.view.sync();
    this.spacer.style.height = `${this.view.rows.length * this.#rowHeight}px`;
    if (this.#follow && !this.view.paused) this.#toEnd();
    else if (reset) this.#restore(anchor);
    else if (removed > 0) this.list.scrollTop -= removed * this.#rowHeight;
    this.#draw(true);
    this.#counts();
  }

  get selected() {
    return this.#selected;
  }

  togglePause() {
    if (this.view.paused) this.view.resume();
    else this.view.pause();
    $("pause").setAttribute("aria-pressed", String(this.view.paused));
    setText($("pause"), this.view.paused ? "resume" : "pause");
    this.refresh();
  }

  toggleFollow(on = !this.#follow) {
    this.#follow = on;
    $("follow").setAttribute("aria-pressed", String(on));
    if (on) {
      if (this.view.paused) this.togglePause();
      this.refresh();
    }
  }

  // ------------------------------------------------------------------------------------------ filters and counts

  #filtersChanged() {
    const params = {};
    if ($("filter-family").value) params.family = $("filter-family").value;
    if ($("filter-type").value) params.type = $("filter-type").value;
    if ($("filter-adw").value) params.adw = $("filter-adw").value;
    if ($("filter-text").value) params.q = $("filter-text").value;
    if ($("filter-own").checked) params.own = "1";
    if ($("filter-raw").checked) params.raw = "1";
    this.app.go("events", params, true);
  }

  #menus() {
    const { tail } = this.app;
    const family = $("filter-family").value;
    const sorted = (map) => [...map.keys()].sort();
    setOptions($("filter-family"), [["", "any"], ...sorted(tail.families).map((name) => [name, name])]);
    setOptions($("filter-type"), [["", "any"], ...sorted(tail.types).filter((type) => !family || type.startsWith(family + ".")).map((type) => [type, type])]);
    setOptions($("filter-adw"), [["", "any"], ...sorted(tail.adws).map((adw) => [adw, adw])]);
  }

  #counts() {
    const { tail } = this.app;
    const { filter, rows: { length: rows } } = this.view;
    const total = tail.entries.length;
    const raw = filter.raw || filter.type === RAW ? 0 : tail.raw;
    const { reach } = tail;
    const filtered = isFiltered(filter);
    const mayLoad = tail.before(this.app.link.connection.epoch) !== null && this.app.link.state.phase === "live";
    const full = total >= MOST_LOADED || tail.characters > 0.9 * tail.maxCharacters;
    const parts = [
      `${rows} of ${total} shown`,
      raw > 0 ? `${raw} raw output hidden` : "",
      reach === null ? "" : tail.complete || reach.seq === 1 ? "looked at all the history" : `looked back to ${clock(reach.time).slice(0, 8)}, seq ${reach.seq}`,
      bytes(tail.characters),
      mayLoad && full ? "this page keeps no more" : "",
      this.view.paused ? `paused, ${this.view.waiting} waiting` : "",
    ];
    setText($("tail-count"), parts.filter(Boolean).join(" · "));
    $("older").hidden = !mayLoad || full;
    setText($("older"), this.#loading ? "loading older" : "load older");
    $("older").disabled = this.#loading;
    setText($("tail-gaps"), this.app.gaps === 0 ? "" : `${this.app.gaps} ${this.app.gaps === 1 ? "gap" : "gaps"}`);
    const empty = $("tail-empty");
    empty.hidden = rows > 0;
    if (rows > 0) return;
    const connected = this.app.link.state.phase === "live";
    const what = filtered && total > 0 ? "filtered" : raw > 0 ? "raw" : connected ? `none ${this.app.api.token() !== null}` : "not connected";
    if (empty.dataset.what === what) return;
    empty.dataset.what = what;
    if (what === "filtered") {
      empty.replaceChildren(h("p", {}, "No event passes these filters."), h("p", { class: "muted" }, "How far was looked is below the list, and so is loading older events."), h("div", { class: "group" }, h("button", { type: "button", on: { click: () => this.app.go("events", {}) } }, "clear filters")));
    } else if (what === "raw") empty.replaceChildren(h("p", {}, "Only raw output of agents, which is hidden."), h("div", { class: "group" }, h("button", { type: "button", on: { click: () => this.app.go("events", { raw: "1" }) } }, "show raw output")));
    else if (connected) empty.replaceChildren(h("p", {}, "No events yet. Publish one:"), this.app.curl());
    else empty.replaceChildren(h("p", {}, "Not connected. Events appear here as soon as the gateway answers."));
  }

  async #older() {
    if (this.#loading) return;
    this.#loading = true;
    setText($("older-problem"), "");
    this.#counts();
    const first = this.view.rows[0];
    try {
      await this.app.loadOlder();
      if (!this.view.paused) {
        this.view.sync();
        // What was found is shown, the newest of it at the bottom of the list in sight.
        if (this.view.rows[0] !== first) {
          this.toggleFollow(false);
          const at = Math.max(0, this.view.rows.indexOf(first));
          this.spacer.style.height = `${this.view.rows.length * this.#rowHeight}px`;
          this.list.scrollTop = Math.max(0, at * this.#rowHeight - this.list.clientHeight / 2);
        }
      }
    } catch (error) {
      setText($("older-problem"), `older events: ${error.message}`);
    }
    this.#loading = false;
    this.refresh();
  }

  // ------------------------------------------------------------------------------------------ drawing

  #first() {
    return Math.max(0, Math.floor(this.list.scrollTop / this.#rowHeight));
  }

  #anchor() {
    const row = this.view.rows[this.#first()];
    return row ? { row, offset: this.list.scrollTop - this.#first() * this.#rowHeight } : null;
  }

  #restore(anchor) {
    const index = anchor === null ? -1 : this.view.rows.indexOf(anchor.row);
    this.#busy = true;
    this.list.scrollTop = index >= 0 ? index * this.#rowHeight + anchor.offset : this.spacer.offsetHeight;
  }

  #toEnd() {
    this.#busy = true;
    this.list.scrollTop = this.list.scrollHeight;
  }

  #scrolled() {
    const atEnd = this.list.scrollTop + this.list.clientHeight >= this.list.scrollHeight - this.#rowHeight / 2;
    if (!this.#busy && this.#follow !== atEnd && !this.view.paused) {
      this.#follow = atEnd;
      $("follow").setAttribute("aria-pressed", String(atEnd));
    }
    this.#busy = false;
    this.#draw(false);
  }

  #draw(all) {
    const { rows } = this.view;
    const from = Math.max(0, this.#first() - OVERSCAN);
    const to = Math.min(rows.length, this.#first() + Math.ceil(this.list.clientHeight / this.#rowHeight) + OVERSCAN);
    while (this.#pool.length < to - from) {
      const row = new Row();
      this.#pool.push(row);
      this.spacer.append(row.element);
    }
    this.#pool.forEach((row, i) => {
      const index = from + i;
      if (index >= to) row.hide();
      else row.show(rows[index], index, rows.length, this.#rowHeight, rows[index] === this.#selected, all);
    });
    const active = this.#pool.find((row) => row.entry === this.#selected && !row.element.hidden);
    if (active && this.#selected) this.list.setAttribute("aria-activedescendant", active.element.id);
    else this.list.removeAttribute("aria-activedescendant");
  }

  // ------------------------------------------------------------------------------------------ choosing

  #clicked(event) {
    const element = event.target.closest(".row");
    const row = this.#pool.find((candidate) => candidate.element === element);
    if (!row?.entry) return;
    if (event.target === row.why) {
      this.app.askWhy(row.entry);
      return;
    }
    // Whoever points at an event wants to read it, not see it scroll away.
    if (row.entry !== this.view.rows.at(-1)) this.toggleFollow(false);
    this.select(row.entry);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { rows } = this.view;
    const page = Math.max(1, Math.floor(this.list.clientHeight / this.#rowHeight) - 1);
    const at = this.#selected === null ? rows.length : rows.indexOf(this.#selected);
    const to = { ArrowUp: at - 1, ArrowDown: at + 1, PageUp: at - page, PageDown: at + page, Home: 0, End: rows.length - 1 }[event.key];
    if (event.key === "Enter" && this.#selected !== null) {
      event.preventDefault();
      $("detail").querySelector("button")?.focus();
      return;
    }
    if (to === undefined || rows.length === 0) return;
    event.preventDefault();
    const index = Math.min(rows.length - 1, Math.max(0, to));
    this.select(rows[index]);
    this.#reveal(index);
    if (event.key === "End") this.toggleFollow(true);
  }

  #reveal(index) {
    const top = index * this.#rowHeight;
    if (top < this.list.scrollTop) this.list.scrollTop = top;
    else if (top + this.#rowHeight > this.list.scrollTop + this.list.clientHeight) this.list.scrollTop = top + this.#rowHeight - this.list.clientHeight;
  }

  /** Shows the detail of an entry, or closes it with null. */
  select(entry) {
    const hadFocus = $("detail").contains(document.activeElement);
    this.#selected = entry;
    const detail = $("detail");
    detail.hidden = entry === null;
    $("events-split").classList.toggle("open", entry !== null);
    if (entry !== null) detail.replaceChildren(...this.#detail(entry));
    else if (hadFocus) this.list.focus();
    this.#draw(true);
  }

  #detail(entry) {
    const frame = entry.text === null ? null : parse(entry.text);
    const body = h("div", { class: "detail-body", tabindex: "0", role: "region", "aria-label": "Frame" });
    const head = h(
      "div",
      { class: "detail-head" },
      h("h2", { class: `hue-${hue(entry)}` }, entry.type),
      h("button", { type: "button", class: "quiet", "aria-label": "Close detail", on: { click: () => this.select(null) } }, "close"),
    );
    const facts = h("dl", { class: "facts-list" });
    const fact = (name, value) => value && facts.append(h("dt", {}, name), h("dd", {}, value));
    fact("to", entry.to);
    fact("time", entry.time);
    if (entry.seq !== null) fact("seq", `${entry.seq}, after ${frame?.prev ?? "?"} in this stream`);
    if (entry.text !== null) fact("size", `${bytes(new TextEncoder().encode(entry.text).length)} on the wire`);
    if (frame === null) {
      body.append(h("p", {}, entry.summary));
      return [head, facts, body];
    }
    const raw = () => h("pre", { class: "raw" }, entry.text);
    const tabs = h("div", { class: "group" });
    const pick = (name, make) => {
      const button = h("button", { type: "button", class: "quiet", on: { click: () => {
        for (const other of tabs.querySelectorAll("[aria-pressed]")) other.setAttribute("aria-pressed", String(other === button));
        body.replaceChildren(make());
      } }, "aria-pressed": "false" }, name);
      tabs.append(button);
      return button;
    };
    pick("pretty", () => jsonView(frame)).click();
    pick("raw", raw);
    tabs.append(copyButton(() => entry.text));
    if (entry.kind === "event" && !entry.own) {
      tabs.append(h("a", { class: "button quiet", href: this.app.href("why", { type: entry.type, to: entry.to, ...(entry.seq === null ? {} : { seq: entry.seq }) }) }, "why delivered"));
    }
    if (entry.adw !== null) tabs.append(h("a", { class: "button quiet", href: this.app.href(`runs/${entry.adw}`) }, `run ${entry.adw}`));
    tabs.append(h("a", { class: "button quiet", href: this.app.href("events", { type: entry.type }) }, "only this type"));
    return [head, facts, tabs, body];
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

// Colors of the busiest types: what belongs together looks alike, bulk output and housekeeping stay quiet.
const HUES = {
  adw: {
    tool_use_pre: 0, tool_use_post: 0, text_block: 2, thinking_block: 2, chat_stream: 2, file_changed: 3, spec_created: 1, screenshot_available: 1,
    workflow_phase_transition: 5, stage_transition: 5, agent_summary_update: 4, summary_update: 4, status_update: 4, agent_output_chunk: 7, agent_log: 7, system_log: 7, workflow_log: 7,
  },
};
const FAMILY_HUES = { adw: 0, connection: 7, chat: 1, context: 2, document: 3, metrics: 4, task: 5, message: 6 };

/** One of eight colors for an entry's type, the same one every time. */
export function hue({ family, name }) {
  if (Object.hasOwn(HUES, family) && Object.hasOwn(HUES[family], name)) return HUES[family][name];
  if (Object.hasOwn(FAMILY_HUES, family)) return FAMILY_HUES[family];
  let sum = 0;
  for (const character of family) sum = (sum * 31 + character.charCodeAt(0)) % 997;
  return sum % 7;
}

class Row {
  constructor() {
    const span = (name, ...children) => h("span", { class: name }, ...children);
    this.family = span("c-family");
    this.name = span("c-name");
    this.parts = { time: span("c-time"), seq: span("c-seq"), type: span("c-type", this.family, this.name), to: span("c-to"), summary: span("c-summary") };
    // For the pointer; the key is w, and the detail has a link.
    this.why = h("span", { class: "c-why button", "aria-hidden": "true" }, "why");
    this.element = h("div", { class: "row", role: "option" }, ...Object.values(this.parts), this.why);
    this.entry = null;
  }

  hide() {
    if (this.entry === null) return;
    this.entry = null;
    this.element.hidden = true;
    this.element.removeAttribute("id");
  }

  show(entry, index, total, height, selected, all) {
    const { element, parts } = this;
    if (this.entry !== entry) {
      this.entry = entry;
      element.hidden = false;
      element.id = `row-${entry.id}`;
      element.className = entry.kind === "mark" ? `row mark tone-${entry.tone}` : `row hue-${hue(entry)}${entry.tone ? ` tone-${entry.tone}` : ""}`;
      setText(parts.time, clock(entry.time));
      setText(parts.seq, entry.seq === null ? "" : String(entry.seq));
      setText(this.family, entry.kind === "mark" || !entry.type.includes(".") ? "" : `${entry.family}.`);
      setText(this.name, entry.name);
      setText(parts.to, entry.own ? "this page" : entry.to);
      setText(parts.summary, entry.summary);
      this.why.hidden = entry.kind === "mark" || entry.own;
    } else if (!all) {
      return;
    }
    element.style.top = `${index * height}px`;
    element.setAttribute("aria-selected", String(selected));
    element.setAttribute("aria-posinset", String(index + 1));
    element.setAttribute("aria-setsize", String(total));
  }
}
