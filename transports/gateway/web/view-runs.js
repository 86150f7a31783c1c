// One ADW run as a story: its phases with a waterfall of tool calls, what was said and thought, which files changed,
// screenshots. Rows are kept and only changed where their item changed, so that reading is not disturbed by live events.

import { problemLine } from "./api.js";
import { $, arrange, h, setText } from "./dom.js";
import { jsonView } from "./json-view.js";
import { readHistory } from "./link.js";
import { clock, duration, money, oneLine, visible } from "./model.js";
import { callDuration, isOver, screenshotName, sections, standing, strip } from "./timeline.js";

// Items drawn per phase, the newest, until more are asked for.
const MOST_DRAWN = 300;

const KINDS = [
  ["tool", "tools"],
  ["text", "text"],
  ["thinking", "thinking"],
  ["file", "files"],
  ["log", "logs"],
];

export class RunsView {
  #adw = null;
  #listed = new Map();
  #listProblem = "";
  #entries = new Map();
  #shown = null;
  #loads = new Map();
  #told = new WeakMap();

  constructor(app) {
    this.app = app;
    this.element = $("view-runs");
    this.images = new Images(app.api);
    this.hiddenKinds = new Set();
    this.failedOnly = false;
  }

  show(_params, adw) {
    this.#adw = adw || null;
    this.#list();
    this.refresh();
    if (this.#adw === null) return;
    this.#entries.get(this.#adw)?.element.scrollIntoView({ block: "nearest", inline: "nearest" });
    this.#complete(this.#adw);
  }

  /** Forgets what was loaded: the server began a new history. */
  restart() {
    for (const load of this.#loads.values()) load.abort?.abort();
    this.#loads.clear();
    this.#shown?.dispose();
    this.#shown = null;
    if (!this.element.hidden && this.#adw !== null) this.#complete(this.#adw);
  }

  /** Asks again for what needs the connection: after a token was given, after a reconnect. */
  connected() {
    this.#listed.clear();
    if (this.element.hidden) return;
    this.#list();
    if (this.#adw !== null) this.#complete(this.#adw);
  }

  refresh() {
    this.#rail();
    const run = this.#adw === null ? undefined : this.app.runs.find(this.#adw);
    if (this.#adw === null) this.#overview();
    else this.#run(run);
  }

  /** The phases of a run and where it stands, made once for each of its versions. */
  told(run) {
    const known = this.#told.get(run);
    if (known?.version === run.version) return known;
    const cut = sections(run);
    const made = { version: run.version, cut, whole: standing(run, cut) };
    this.#told.set(run, made);
    return made;
  }

  // ------------------------------------------------------------------------------------------ the list of runs

  async #list() {
    try {
      const { agents, root } = await this.app.api.json("GET", "v1/agents");
      this.#listProblem = "";
      this.#listed = new Map((agents ?? []).map((agent) => [String(agent.adw_id), agent]));
      this.watched = root !== false;
    } catch (error) {
      this.#listProblem = problemLine(error);
    }
    if (!this.element.hidden) this.refresh();
  }

  #rail() {
    const known = this.app.runs.list();
    const ids = known.map((run) => run.adw);
    for (const adw of this.#listed.keys()) if (!ids.includes(adw)) ids.push(adw);
    const wanted = ids.map((adw) => {
      let entry = this.#entries.get(adw);
      if (entry === undefined) {
        const parts = { id: h("b", {}, adw), state: h("span", { class: "state" }), step: h("span", { class: "muted" }), bar: h("i", { class: "progress" }) };
        entry = { parts, element: h("a", { href: this.app.href(`runs/${adw}`) }, parts.id, parts.state, parts.step, parts.bar) };
        this.#entries.set(adw, entry);
      }
      const run = this.app.runs.find(adw);
      const { whole } = run === undefined ? NOTHING : this.told(run);
      setText(entry.parts.state, whole.status);
      entry.parts.state.className = `state ${whole.tone}`;
      const step = [whole.failed > 0 ? plural(whole.failed, "phase failed", "phases failed") : "", run?.step, whole.lived ? clock(new Date(run.lastAt).toISOString()).slice(0, 8) : ""];
      setText(entry.parts.step, run ? step.filter(Boolean).join(" · ") : "on disk");
      entry.parts.bar.hidden = run === undefined || isOver(whole);
      entry.parts.bar.style.width = `${Math.min(100, Math.max(0, run?.progress ?? 0))}%`;
      if (adw === this.#adw) entry.element.setAttribute("aria-current", "page");
      else entry.element.removeAttribute("aria-current");
      return entry.element;
    });
    if (wanted.length === 0) wanted.push((this.none ??= h("p", { class: "muted" }, "none yet")));
    arrange($("run-list"), wanted);
  }

  #overview() {
    this.#shown?.dispose();
    this.#shown = null;
    const any = this.#entries.size > 0;
    const key = `${any}${this.#listProblem}`;
    if ($("run").dataset.overview === key) return;
    $("run").dataset.overview = key;
    $("run").replaceChildren(
      h(
        "div",
        { class: "empty" },
        h("p", {}, any ? "Choose a run to see its phases, tool calls, file changes and screenshots." : "No runs yet. Start the gateway with an agents directory, or publish an event of a run:"),
        any ? null : this.app.curl(),
        this.#listProblem ? h("p", { class: "problem" }, `The list of runs on disk: ${this.#listProblem}`) : null,
      ),
    );
  }

  // ------------------------------------------------------------------------------------------ one run

  #run(run) {
    delete $("run").dataset.overview;
    if (this.#shown?.adw !== this.#adw) {
      this.#shown?.dispose();
      this.#shown = new RunPane(this, this.#adw, this.#listed.get(this.#adw));
      $("run").replaceChildren(this.#shown.element);
      $("run").scrollTop = 0;
    }
    this.#shown.refresh(run, this.#loads.get(this.#adw), this.#listed.get(this.#adw));
  }

  // The tail holds the newest events of everything; the beginning of this run may have to be read from the history.
  async #complete(adw) {
    if (this.#loads.has(adw) || this.app.runs.find(adw)?.fromStart || this.app.link.state.phase !== "live") return;
    const load = { text: "reading the history", tone: "", abort: new AbortController() };
    this.#loads.set(adw, load);
    this.refresh();
    let read = 0;
    const epoch = this.app.link.connection.epoch;
    try {
      const { gap } = await readHistory({
        url: this.app.api.socketUrl(),
        token: () => this.app.api.token(),
        to: `adw:${adw}`,
        signal: load.abort.signal,
        onFrame: (frame) => {
          if (this.app.link.connection.epoch !== epoch) return;
          this.app.runs.ingest(frame);
          read += 1;
          if (read % 250 === 0) load.text = `reading the history, ${read} events`;
          this.app.refresh();
        },
      });
      load.text = gap ? "the beginning is no longer in the history" : "";
      load.tone = gap ? "warn" : "";
    } catch (error) {
      load.text = `history: ${error.message}`;
      load.tone = "bad";
      this.#loads.delete(adw);
      if (this.#shown?.adw === adw) this.#shown.refresh(this.app.runs.find(adw), load, this.#listed.get(adw));
      return;
    }
    this.refresh();
  }
}

const plural = (n, one, many) => `${n} ${n === 1 ? one : many}`;

const NOTHING = { whole: { status: "", tone: "", failed: 0, lived: false } };

class RunPane {
  #sections = new Map();
  #items = new Map();
  #shots = new Map();
  #state = null;

  constructor(view, adw, listed) {
    this.view = view;
    this.adw = adw;
    this.parts = {
      title: h("h2", {}, adw),
      status: h("span", { class: "state" }),
      failed: h("span", { class: "state bad" }),
      meta: h("span", { class: "muted" }),
      load: h("span", { class: "load", role: "status" }),
      strip: h("ol", { class: "strip", "aria-label": "Phases" }),
      gallery: h("div", { class: "gallery", role: "group", "aria-label": "Screenshots", hidden: true }),
      state: h("div", { class: "state-file", hidden: true }),
      body: h("div", { class: "story" }),
      empty: h("div", { class: "empty", hidden: true }),
    };
    const kinds = KINDS.map(([kind, label]) => this.#toggle(label, !view.hiddenKinds.has(kind), (on) => {
      if (on) view.hiddenKinds.delete(kind);
      else view.hiddenKinds.add(kind);
      this.#again();
    }));
    const failed = this.#toggle("failed only", view.failedOnly, (on) => {
      view.failedOnly = on;
      this.#again();
    });
    this.stateButton = this.#toggle("adw_state.json", false, (on) => this.#showState(on));
    this.stateButton.hidden = !listed?.state;
    this.head = h(
      "header",
      { class: "run-head" },
      h("div", { class: "run-title" }, this.parts.title, this.parts.status, this.parts.failed, this.parts.meta, this.parts.load),
      h("div", { class: "group" }, ...kinds, failed, this.stateButton, h("a", { class: "button quiet", href: view.app.href("events", { adw }) }, "its events")),
      this.parts.strip,
    );
    this.element = h("div", { class: "run-pane" }, this.head, this.parts.state, this.parts.gallery, this.parts.body, this.parts.empty);
    // Phase headings stick below the head of the run, whatever its height.
    new ResizeObserver(() => this.element.style.setProperty("--head", `${this.head.offsetHeight}px`)).observe(this.head);
  }

  dispose() {
    this.view.images.forget();
    this.element.remove();
  }

  refresh(run, load, listed) {
    const { parts } = this;
    setText(parts.load, load?.text ?? "");
    parts.load.className = `load ${load?.tone ?? ""}`;
    this.stateButton.hidden = !listed?.state;
    this.#gallery(run, listed);
    parts.empty.hidden = run !== undefined;
    if (run === undefined) {
      if (parts.empty.childElementCount === 0) parts.empty.append(h("p", {}, `No events of ${this.adw} yet. Publish one:`), this.view.app.curl(this.adw));
      parts.strip.replaceChildren();
      return;
    }
    if (this.version === run.version) return;
    this.version = run.version;
    const { cut, whole } = this.view.told(run);
    setText(parts.status, whole.status);
    parts.status.className = `state ${whole.tone}`;
    setText(parts.failed, whole.failed > 0 ? plural(whole.failed, "phase failed", "phases failed") : "");
    const calls = cut.reduce((sum, section) => sum + section.calls, 0);
    const failed = cut.reduce((sum, section) => sum + section.failed, 0);
    const files = new Set(run.items.filter((item) => item.kind === "file").map((item) => item.path)).size;
    const meta = [
      run.workflow,
      isOver(whole) || run.progress === null ? "" : `${run.progress} %`,
      whole.took === null ? "" : `${duration(whole.took)} of work${whole.untimed > 0 ? `, ${plural(whole.untimed, "phase", "phases")} without a time` : ""}`,
      money(whole.cost),
      whole.lived ? "" : "times of reading are left out",
      plural(calls, "call", "calls") + (failed ? `, ${failed} failed` : ""),
      plural(files, "file", "files"),
      plural(run.events, "event", "events"),
      run.trimmed > 0 ? `${run.trimmed} oldest items let go` : "",
    ];
    setText(parts.meta, meta.filter(Boolean).join(" · "));
    this.#strip(run, cut);
    this.#story(cut);
  }

  #toggle(label, on, change) {
    const button = h("button", { type: "button", class: "quiet", "aria-pressed": String(on), on: { click: () => {
      const now = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(now));
      change(now);
    } } }, label);
    return button;
  }

  #passes(item) {
    if (this.view.failedOnly) return item.state === "failed" || (item.kind === "log" && item.level === "ERROR");
    return !this.view.hiddenKinds.has(item.kind);
  }

  #again() {
    this.version = null;
    this.view.refresh();
  }

  #strip(run, cut) {
    const wanted = strip(run, cut);
    const key = JSON.stringify(wanted);
    if (this.stripKey === key) return;
    this.stripKey = key;
    this.parts.strip.replaceChildren(
      ...wanted.map((phase) => {
        const took = phase.took === null ? "" : duration(phase.took);
        const label = [h("b", {}, visible(phase.name)), h("span", {}, phase.state === "active" && took ? `${took} so far` : phase.state === "failed" && took ? `failed, ${took}` : took || phase.state)];
        const inner = phase.section === null ? h("span", {}, ...label) : h("button", { type: "button", on: { click: () => this.#sections.get(phase.section)?.element.scrollIntoView({ block: "start" }) } }, ...label);
        return h("li", { class: `phase-${phase.state}` }, inner);
      }),
    );
  }

  #story(cut) {
    const wanted = [];
    for (const section of cut) {
      let shown = this.#sections.get(section.id);
      if (shown === undefined) {
        const name = h("h3", {}, section.name === "" ? "before the first phase" : visible(section.name));
        const meta = h("span", { class: "muted" });
        const list = h("div", { class: "items" });
        const earlier = h("button", { type: "button", class: "quiet", hidden: true, on: { click: () => {
          shown.limit += MOST_DRAWN;
          this.#again();
        } } });
        shown = { meta, list, earlier, limit: MOST_DRAWN, element: h("section", { class: "phase", "aria-label": section.name || "before the first phase" }, h("div", { class: "phase-head" }, name, meta), earlier, list) };
        this.#sections.set(section.id, shown);
      }
      shown.element.className = `phase phase-${section.state} ${section.lived ? "" : "phase-read"}`.trim();
      const meta = [
        section.lived ? clock(new Date(section.startAt).toISOString()).slice(0, 8) : "",
        section.state === "failed" ? "failed" : "",
        section.took === null ? "" : duration(section.took) + (section.state === "active" ? " so far" : ""),
        money(section.cost),
        section.calls > 0 ? plural(section.calls, "call", "calls") : "",
        section.failed > 0 ? `${plural(section.failed, "failed call", "failed calls")}` : "",
        section.running > 0 ? `${section.running} running` : "",
        section.files > 0 ? `${plural(section.files, "file change", "file changes")} +${section.added} -${section.removed}` : "",
      ];
      setText(shown.meta, meta.filter(Boolean).join(" · "));
      const items = section.items.filter((item) => this.#passes(item));
      const earlier = Math.max(0, items.length - shown.limit);
      shown.earlier.hidden = earlier === 0;
      setText(shown.earlier, `show ${Math.min(earlier, MOST_DRAWN)} of ${earlier} earlier`);
      arrange(shown.list, items.slice(earlier).map((item) => this.#item(item, section)));
      wanted.push(shown.element);
    }
    arrange(this.parts.body, wanted);
    const kept = new Set(cut.flatMap((section) => section.items.map((item) => item.id)));
    for (const id of this.#items.keys()) if (!kept.has(id)) this.#items.delete(id);
    for (const [id, shown] of this.#sections) if (!shown.element.isConnected && this.element.isConnected) this.#sections.delete(id);
  }

  // ------------------------------------------------------------------------------------------ items

  #item(item, section) {
    let shown = this.#items.get(item.id);
    if (shown === undefined) {
      shown = { element: h("div", {}), version: -1, state: null, lived: null, bar: null };
      this.#items.set(item.id, shown);
    }
    if (shown.version !== item.version || shown.state !== item.state || shown.lived !== section.lived) {
      shown.version = item.version;
      shown.state = item.state;
      shown.lived = section.lived;
      const open = shown.element.querySelector(":scope > .row-line[aria-expanded=true]") !== null;
      const focused = shown.element.firstChild === document.activeElement && shown.element.firstChild !== null;
      this.#build(item, shown, open);
      if (focused) shown.element.firstChild.focus();
    }
    // The offset and the bar stand relative to the phase, whose span grows while it is active.
    // Where the times are those of reading a file, neither means anything.
    setText(shown.offset, section.lived ? offsetText(item.at - section.startAt, section.endAt - section.startAt) : "");
    if (shown.bar !== null) {
      const span = Math.max(1, section.endAt - section.startAt);
      const start = ((item.startedAt ?? item.at) - section.startAt) / span;
      const length = (item.state === "running" ? section.endAt - (item.startedAt ?? item.at) : (callDuration(item, section.lived) ?? 0)) / span;
      const left = `${(100 * Math.min(0.99, Math.max(0, start))).toFixed(2)}%`;
      const width = `${(100 * Math.min(1 - Math.min(0.99, Math.max(0, start)), Math.max(0, length))).toFixed(2)}%`;
      if (shown.bar.style.left !== left) shown.bar.style.left = left;
      if (shown.bar.style.width !== width) shown.bar.style.width = width;
    }
    return shown.element;
  }

  #build(item, shown, open) {
    const took = item.kind === "tool" ? callDuration(item, shown.lived) : null;
    shown.offset = h("span", { class: "i-at", title: shown.lived ? (item.time ?? "") : "" });
    shown.bar = null;
    const side = [];
    let body = null;
    let label;
    let main;
    let tone = "";
    switch (item.kind) {
      case "tool":
        label = h("span", { class: "i-kind" }, oneLine(item.tool || "tool", 40));
        main = oneLine(item.argument, 300) || (item.result !== null && item.startedAt === null ? "(its start was not seen)" : "");
        tone = { ok: "good", failed: "bad", running: "busy", unanswered: "warn" }[item.state];
        if (shown.lived) {
          shown.bar = h("i");
          side.push(h("span", { class: "i-bar", "aria-hidden": "true" }, shown.bar));
        }
        side.push(h("span", { class: "i-took" }, took === null ? "" : duration(took)));
        side.push(h("span", { class: `i-state ${tone}` }, { ok: "ok", failed: "failed", running: "running", unanswered: "no result" }[item.state]));
        body = () => this.#toolBody(item);
        break;
      case "text":
        label = h("span", { class: "i-kind" }, "text");
        main = oneLine(item.content.text, 400);
        body = () => prose(item.content);
        break;
      case "thinking":
        label = h("span", { class: "i-kind" }, "thinking");
        main = oneLine(item.content.text, 400) || "(withheld by the model)";
        if (item.took !== null) side.push(h("span", { class: "i-took" }, duration(item.took)));
        body = item.content.text ? () => prose(item.content) : null;
        break;
      case "summary":
        label = h("span", { class: "i-kind" }, "summary");
        main = oneLine(item.content.text, 400);
        tone = item.failed ? "bad" : "";
        body = () => prose(item.content);
        break;
      case "file":
        label = h("span", { class: "i-kind" }, item.operation || "file");
        main = oneLine(item.path, 300);
        side.push(h("span", { class: "i-diff" }, h("span", { class: "good" }, `+${item.added}`), " ", h("span", { class: "bad" }, `-${item.removed}`)));
        body = item.diff.text || item.note ? () => diffBody(item) : null;
        break;
      case "log":
        label = h("span", { class: "i-kind" }, item.level.toLowerCase());
        main = [item.what, oneLine(item.content.text, 400)].filter(Boolean).join("  ");
        tone = { ERROR: "bad", WARNING: "warn" }[item.level] ?? "";
        body = item.content.text.length > 80 ? () => prose(item.content) : null;
        break;
      case "shot":
        label = h("span", { class: "i-kind" }, "screenshot");
        main = oneLine(item.path, 300);
        side.push(this.#thumbnail(item.path, "small"));
        break;
      case "spec":
        label = h("span", { class: "i-kind" }, "spec");
        main = [item.about, oneLine(item.path, 300)].filter(Boolean).join("  ");
        break;
      default:
        label = h("span", { class: "i-kind" }, item.kind);
        main = "";
    }
    const cells = [shown.offset, label, h("span", { class: "i-main" }, main), h("span", { class: "i-side" }, ...side)];
    const element = shown.element;
    element.className = `item kind-${item.kind} ${tone}${item.parent ? " nested" : ""}${item.state === "failed" ? " is-failed" : ""}`;
    if (item.parent) element.title = `by the subagent of call ${item.parent}`;
    if (body === null) {
      element.replaceChildren(h("div", { class: "row-line" }, ...cells));
      return;
    }
    const holder = h("div", { class: "item-body", hidden: true });
    const line = h("button", { type: "button", class: "row-line", "aria-expanded": "false", on: { click: () => set(line.getAttribute("aria-expanded") !== "true") } }, ...cells);
    const set = (wide) => {
      line.setAttribute("aria-expanded", String(wide));
      holder.hidden = !wide;
      if (wide && holder.childElementCount === 0) holder.append(body());
    };
    element.replaceChildren(line, holder);
    if (open) set(true);
  }

  #toolBody(item) {
    const where = h("p", { class: "muted" }, [item.call, item.role, item.parent ? `subagent of ${item.parent}` : "", item.seq === null ? "" : `seq ${item.seq}`, item.resultSeq === null ? "" : `result seq ${item.resultSeq}`].filter(Boolean).join(" · "));
    const body = h("div", {}, where, h("h4", {}, "input"), item.input === null ? h("p", { class: "muted" }, "not seen") : jsonView(item.input));
    if (item.error.text && item.error.text !== item.output.text) body.append(h("h4", {}, "error"), prose(item.error));
    if (item.result !== null) body.append(h("h4", {}, "output"), item.output.text ? prose(item.output) : h("p", { class: "muted" }, "empty"));
    return body;
  }

  // ------------------------------------------------------------------------------------------ screenshots and state

  #gallery(run, listed) {
    const paths = new Set((listed?.screenshots ?? []).map(String));
    for (const item of run?.items ?? []) if (item.kind === "shot") paths.add(item.path);
    const wanted = [...paths].map((path) => {
      let shot = this.#shots.get(path);
      if (shot === undefined) {
        shot = h("figure", {}, this.#thumbnail(path, "large"), h("figcaption", {}, oneLine(screenshotName(path), 60)));
        this.#shots.set(path, shot);
      }
      return shot;
    });
    this.parts.gallery.hidden = wanted.length === 0;
    arrange(this.parts.gallery, wanted);
  }

  #thumbnail(path, size) {
    const name = screenshotName(path);
    const image = h("img", { alt: `screenshot ${name}`, class: "shot" });
    const button = h("button", { type: "button", class: `thumb ${size}`, "aria-label": `open screenshot ${name}` }, image);
    const open = (event) => {
      event.stopPropagation();
      if (image.src) this.view.app.showImage(image.src, path);
    };
    button.addEventListener("click", open);
    this.view.images.load(this.adw, name).then(
      (url) => (image.src = url),
      (error) => {
        image.remove();
        button.append(h("span", { class: "muted" }, problemLine(error)));
      },
    );
    return button;
  }

  async #showState(on) {
    this.parts.state.hidden = !on;
    if (!on) return;
    try {
      const { state } = await this.view.app.api.json("GET", `v1/agents/${encodeURIComponent(this.adw)}`);
      this.parts.state.replaceChildren(jsonView(state ?? null));
    } catch (error) {
      this.parts.state.replaceChildren(h("p", { class: "problem" }, problemLine(error)));
    }
  }
}

/** Offset within a phase: `+0.042` in a phase of a few seconds, else `+12.3`, `+3:07.1`. */
function offsetText(ms, span) {
  if (!Number.isFinite(ms)) return "";
  const sign = ms < 0 ? "-" : "+";
  const total = Math.abs(ms);
  const minutes = Math.floor(total / 60_000);
  const seconds = ((total % 60_000) / 1000).toFixed(span < 10_000 ? 3 : 1);
  return minutes > 0 ? `${sign}${minutes}:${seconds.padStart(4, "0")}` : `${sign}${seconds}`;
}

function prose({ text, omitted }) {
  const shown = text.split(/([\n\t])/).map((part) => (part === "\n" || part === "\t" ? part : visible(part))).join("");
  return h("pre", { class: "prose", tabindex: "0" }, shown, omitted > 0 ? h("span", { class: "muted" }, `\n${omitted} more characters: see the event`) : null);
}

function diffBody(item) {
  const pre = h("pre", { class: "diff", tabindex: "0" });
  if (item.note) pre.append(h("span", { class: "muted" }, `${visible(item.note)}\n`));
  for (const line of item.diff.text.split("\n")) {
    const kind = line.startsWith("@@") ? "hunk" : line.startsWith("+") ? "plus" : line.startsWith("-") ? "minus" : "";
    pre.append(h("span", { class: kind }, `${visible(line)}\n`));
  }
  if (item.diff.omitted > 0) pre.append(h("span", { class: "muted" }, `${item.diff.omitted} more characters: see the event`));
  return pre;
}

// Screenshots of the run in view, fetched once each: a fetch can carry the token, an <img> address cannot.
class Images {
  #urls = new Map();

  constructor(api) {
    this.api = api;
  }

  load(adw, name) {
    const path = `v1/agents/${encodeURIComponent(adw)}/screenshots/${encodeURIComponent(name)}`;
    if (!this.#urls.has(path)) {
      this.#urls.set(path, this.api.blob(path).then((blob) => {
        if (blob.type !== "image/png") throw new Error(`${name} is not a PNG`);
        return URL.createObjectURL(blob);
      }));
    }
    return this.#urls.get(path);
  }

  forget() {
    for (const url of this.#urls.values()) url.then((made) => URL.revokeObjectURL(made), () => {});
    this.#urls.clear();
  }
}
