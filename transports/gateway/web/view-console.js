// The command console: typed forms and raw JSON, sent over this page's connection or over one of its own, with what came
// back joined to what was sent.

import { problemLine } from "./api.js";
import { build, KINDS, parseRaw, publication, redacted } from "./commands.js";
import { $, arrange, h, setText } from "./dom.js";
import { jsonView } from "./json-view.js";
import { Link } from "./link.js";
import { clock, duration, summarize, toneOf, visible } from "./model.js";

const MOST_LINES = 300;

export class ConsoleView {
  #targets = [];
  #count = 0;
  #own = null;
  #waiting = new Map();

  constructor(app) {
    this.app = app;
    this.element = $("view-console");
    $("publish-data").value = JSON.stringify({ adw_id: "demo0001", content: "hello from the inspector" }, null, 2);
    $("raw-text").value = JSON.stringify({ type: "ping", id: "mine-1", data: { client_time: 1 } }, null, 2);
    $("add-target").addEventListener("click", () => this.#addTarget("adw", true));
    $("composer").addEventListener("input", () => this.#preview());
    $("composer").addEventListener("change", () => this.#preview());
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    $("composer").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        this.#send();
      }
    });
    $("clear-transcript").addEventListener("click", () => {
      $("transcript").replaceChildren();
      $("transcript-empty").hidden = false;
    });
    this.#addTarget("adw", false);
    this.#preview();
  }

  show() {
    this.#preview();
    this.refresh();
  }

  connected() {
    this.refresh();
  }

  refresh() {
    const lists = [["this page", this.app.link.connection.subscriptions]];
    if (this.#own !== null) lists.push(["own connection", this.#own.connection.subscriptions]);
    const key = JSON.stringify(lists);
    if (this.key === key) return;
    this.key = key;
    $("subscriptions").replaceChildren(
      ...lists.map(([name, subscriptions]) =>
        h("p", { class: "chips" }, h("span", { class: "muted" }, name), ...(subscriptions.length === 0 ? [h("span", { class: "muted" }, "none")] : subscriptions.map((to) => h("span", { class: "chip" }, visible(to))))),
      ),
    );
  }

  /** A frame of this page's connection: shown when it answers something sent from here. */
  received(frame) {
    const re = frame.data?.re;
    if (typeof re === "string" && this.#waiting.has(`page ${re}`)) this.#answered("page", re, frame);
    else if (frame.type === "connection.error" && re === undefined && this.#waiting.size > 0) this.#line("in", "page", frame);
  }

  // ------------------------------------------------------------------------------------------ the form

  #chosen() {
    return new FormData($("composer")).get("command");
  }

  #addTarget(kind, focus) {
    const select = h("select", { "aria-label": "audience kind" }, ...Object.entries(KINDS).map(([value, { label }]) => h("option", { value }, label)));
    select.value = kind;
    const id = h("input", { "aria-label": "audience id", autocomplete: "off", spellcheck: "false" });
    const since = h("input", { "aria-label": "since seq", class: "since", placeholder: "since", inputmode: "numeric", autocomplete: "off" });
    const target = { select, id, since };
    const remove = h("button", { type: "button", class: "quiet", "aria-label": "remove this audience", on: { click: () => {
      this.#targets = this.#targets.filter((other) => other !== target);
      this.#layout();
      $("add-target").focus();
    } } }, "remove");
    target.element = h("div", { class: "target" }, select, id, since, remove);
    this.#targets.push(target);
    this.#layout();
    if (focus) id.focus();
  }

  #layout() {
    arrange($("targets"), this.#targets.map((target) => target.element));
    this.#preview();
  }

  #form() {
    const command = this.#chosen();
    return {
      command,
      id: `c${this.#count + 1}`,
      epoch: this.app.link.connection.epoch,
      targets: this.#targets.map(({ select, id, since }) => ({ kind: select.value, id: id.value, since: since.value })),
      clientTime: pingTime($("ping-time").value),
    };
  }

  // What would be sent now: `{text, command}` for a command, `{publish}` for a publication. Throws for the person.
  #compose() {
    const form = this.#form();
    if (form.command === "raw") return parseRaw($("raw-text").value);
    if (form.command === "publish") return { publish: publication({ type: $("publish-type").value.trim(), to: $("publish-to").value.trim(), data: $("publish-data").value }) };
    const command = build(form);
    return { text: JSON.stringify(command), command };
  }

  #preview() {
    const command = this.#chosen();
    $("form-targets").hidden = command !== "subscribe" && command !== "unsubscribe";
    $("form-ping").hidden = command !== "ping";
    $("form-raw").hidden = command !== "raw";
    $("form-publish").hidden = command !== "publish";
    $("send-over-row").hidden = command === "publish";
    for (const target of this.#targets) {
      target.since.hidden = command !== "subscribe";
      target.id.placeholder = KINDS[target.select.value].hint;
      target.id.disabled = KINDS[target.select.value].id === null;
    }
    try {
      const made = this.#compose();
      setText($("preview"), JSON.stringify(made.publish ?? redacted(made.command), null, 2));
      setText($("composer-problem"), "");
    } catch (error) {
      setText($("preview"), "");
      // While an id is still empty nothing is wrong yet.
      const empty = (command === "subscribe" || command === "unsubscribe") && this.#targets.some(({ select, id }) => KINDS[select.value].id !== null && id.value === "");
      setText($("composer-problem"), empty ? "" : error.message);
    }
  }

  // ------------------------------------------------------------------------------------------ sending

  async #send() {
    let made;
    try {
      made = this.#compose();
    } catch (error) {
      setText($("composer-problem"), error.message);
      return;
    }
    setText($("composer-problem"), "");
    if (made.publish) {
      await this.#publish(made.publish);
      return;
    }
    const over = $("send-over").value;
    const link = over === "own" ? await this.#ownLink() : this.app.link;
    if (link === null || !link.sendText(made.text)) {
      setText($("composer-problem"), "not connected: nothing was sent");
      return;
    }
    this.#count += 1;
    const line = this.#line("out", over, redacted(made.command));
    if (typeof made.command.id === "string") this.#waiting.set(`${over} ${made.command.id}`, { at: performance.now(), line });
    this.#preview();
  }

  async #publish(item) {
    this.#line("out", "POST v1/events", item);
    const asked = performance.now();
    try {
      const answer = await this.app.api.json("POST", "v1/events", item);
      const failed = Array.isArray(answer.results) && answer.results.some((result) => result.error);
      this.#line("in", "POST v1/events", answer, failed ? "bad" : "good", performance.now() - asked);
    } catch (error) {
      this.#line("note", "POST v1/events", problemLine(error), "bad");
    }
  }

  // A second connection that observes nothing: it shows what a client with just these subscriptions receives.
  #ownLink() {
    if (this.#own?.state.phase === "live") return Promise.resolve(this.#own);
    this.#own?.stop();
    return new Promise((resolve) => {
      const link = new Link({
        url: this.app.api.socketUrl(),
        token: () => this.app.api.token(),
        probe: () => this.app.api.probe(),
        onState: (state) => {
          if (state.phase === "live") resolve(link);
          if (["stopped", "token", "forbidden", "waiting"].includes(state.phase)) {
            this.#line("note", "own", state.detail, "bad");
            resolve(null);
          }
          this.refresh();
        },
        onFrame: (frame) => {
          const re = frame.data?.re;
          if (typeof re === "string" && this.#waiting.has(`own ${re}`)) this.#answered("own", re, frame);
          // What the connection asks for by itself, to resume and to see that it lives, is answered as well.
          else if (re === undefined && frame.type !== "connection.heartbeat") this.#line("in", "own", frame);
          this.refresh();
        },
        onNote: (_label, text, tone) => this.#line("note", "own", text, tone),
      });
      this.#own = link;
      link.start();
    });
  }

  #answered(over, re, frame) {
    const { at } = this.#waiting.get(`${over} ${re}`);
    this.#waiting.delete(`${over} ${re}`);
    this.#line("in", over, frame, toneOf(frame) || "good", performance.now() - at);
    this.refresh();
  }

  #line(direction, over, what, tone = "", took = null) {
    const list = $("transcript");
    const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 40;
    const mark = { out: "sent", in: "received", note: "note" }[direction];
    const head = h(
      "div", { class: "line-head" },
      h("span", { class: "muted" }, clock(new Date().toISOString())),
      h("b", { class: `direction ${tone}` }, mark),
      h("span", {}, typeof what === "string" ? "" : String(what.type ?? (what.results ? "results" : ""))),
      h("span", { class: "muted" }, { page: "this page", own: "own connection" }[over] ?? over),
      took === null ? null : h("span", { class: "muted" }, duration(took)),
    );
    const body = typeof what === "string" ? h("p", { class: "problem" }, what) : direction === "in" && what.type && what.data?.re === undefined && over === "own"
      ? h("details", {}, h("summary", {}, summarize(what)), jsonView(what))
      : jsonView(what);
    const line = h("li", { class: `line-${direction}` }, head, body);
    list.append(line);
    while (list.childElementCount > MOST_LINES) list.firstElementChild.remove();
    $("transcript-empty").hidden = true;
    if (atEnd) list.scrollTop = list.scrollHeight;
    return line;
  }
}

function pingTime(text) {
  const trimmed = text.trim();
  if (trimmed === "") return Date.now();
  const value = Number(trimmed);
  return Number.isFinite(value) ? value : trimmed;
}
