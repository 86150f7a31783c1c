// Why did, or would, a connection get an event: the server's own routing decision, check by check.

import { problemLine } from "./api.js";
import { $, choose, h, setOptions } from "./dom.js";
import { clock, visible } from "./model.js";

// Events offered when none was chosen.
const NEWEST = 12;

export class WhyView {
  #asked = "";

  constructor(app) {
    this.app = app;
    this.element = $("view-why");
    $("why-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const params = { type: $("why-type").value.trim(), to: $("why-to").value.trim() };
      if ($("why-seq").value.trim()) params.seq = $("why-seq").value.trim();
      if ($("why-connection").value) params.connection = $("why-connection").value;
      this.#asked = "";
      app.go("why", params);
    });
  }

  async show(params) {
    const event = this.app.chosenEvent();
    const given = params.get("type") !== null || params.get("to") !== null;
    $("why-type").value = params.get("type") ?? event?.type ?? $("why-type").value;
    $("why-to").value = params.get("to") ?? event?.to ?? $("why-to").value;
    $("why-seq").value = params.get("seq") ?? (given ? "" : (event?.seq ?? ""));
    const types = [...this.app.tail.types.keys()].filter((type) => !type.startsWith("connection.")).sort();
    $("why-types").replaceChildren(...types.map((value) => h("option", { value })));
    this.#empty(params);
    const connection = params.get("connection") ?? "";
    this.#offer(this.app.connections(), connection);
    this.app.readConnections().then((connections) => this.#offer(connections, connection), () => {});
    if (params.get("type") && params.get("to")) await this.#ask(params);
  }

  connected() {
    this.#asked = "";
  }

  refresh() {}

  #offer(connections, chosen) {
    const mine = this.app.link.connection.id;
    const options = connections.map((c) => [String(c.connection_id), [c.connection_id, c.connection_id === mine ? "this page" : "", c.user_id ?? "", (c.subscriptions ?? []).join(" ")].filter(Boolean).map(String).map(visible).join("  ")]);
    setOptions($("why-connection"), [["", "all connections"], ...options]);
    choose($("why-connection"), chosen);
  }

  #empty(params) {
    const asked = Boolean(params.get("type") && params.get("to"));
    $("why-empty").hidden = asked;
    $("why-answer").hidden = !asked;
    if (asked) return;
    const newest = this.app.tail.entries.filter((entry) => entry.kind === "event" && !entry.own).slice(-NEWEST).reverse();
    const connection = params.get("connection");
    const pick = (entry) =>
      h("li", {}, h("a", { href: this.app.href("why", { type: entry.type, to: entry.to, ...(entry.seq === null ? {} : { seq: entry.seq }), ...(connection ? { connection } : {}) }) },
        h("span", {}, clock(entry.time)), h("b", {}, visible(entry.type)), h("span", {}, visible(entry.to)), h("span", { class: "muted" }, entry.summary)));
    $("why-empty").replaceChildren(
      h("p", {}, "Name an event and its audience, or choose an event. The server answers with what its routing decides now for each connection, and why."),
      newest.length > 0 ? h("ol", { class: "picks", "aria-label": "Newest events" }, ...newest.map(pick)) : h("pre", { class: "curl" }, `curl '${this.app.api.url("v1/explain")}?type=adw.text_block&to=adw:demo0001'`),
    );
  }

  async #ask(params) {
    const query = new URLSearchParams();
    for (const name of ["type", "to", "connection", "seq"]) if (params.get(name)) query.set(name, params.get(name));
    const key = String(query);
    if (this.#asked === key) return;
    this.#asked = key;
    let answer;
    try {
      answer = await this.app.api.json("GET", `v1/explain?${query}`);
    } catch (error) {
      if (this.#asked !== key) return;
      this.#asked = "";
      $("why-answer").replaceChildren(h("p", { class: "problem" }, problemLine(error)));
      return;
    }
    if (this.#asked !== key) return;
    this.#asked = "";
    const connections = Array.isArray(answer.connections) ? answer.connections : [];
    const reached = connections.filter((c) => c.delivered).length;
    $("why-answer").replaceChildren(
      h("p", { class: "verdict" }, h("b", {}, visible(String(answer.type))), " to ", h("b", {}, visible(String(answer.to))), `: ${reached} of ${connections.length} ${connections.length === 1 ? "connection gets" : "connections get"} it`),
      ...connections.sort((a, b) => Number(b.delivered) - Number(a.delivered)).map((c) => this.#connection(c, connections.length === 1)),
      connections.length === 0 ? h("p", { class: "muted" }, "Nobody is connected.") : "",
    );
  }

  #connection(c, only) {
    const mine = c.connection_id === this.app.link.connection.id;
    const checks = Array.isArray(c.checks) ? c.checks : [];
    return h(
      "details",
      { class: `explained ${c.delivered ? "good" : "bad"}`, open: only || mine },
      h("summary", {}, h("b", { class: c.delivered ? "good" : "bad" }, c.delivered ? "delivered" : "withheld"), h("span", {}, visible(String(c.connection_id))), mine ? h("span", { class: "tag" }, "this page") : null, h("span", { class: "muted" }, `${visible(String(c.rule ?? ""))}  ${visible(String(c.reason ?? ""))}`)),
      h(
        "ol",
        { class: "checks", "aria-label": "Checks" },
        ...checks.map((check) => h("li", { class: check.passed ? "good" : "bad" }, h("b", {}, check.passed ? "pass" : "fail"), h("code", {}, visible(String(check.rule))), h("span", {}, visible(String(check.reason))))),
        checks.length === 0 ? h("li", { class: "muted" }, "no checks were reported") : null,
      ),
    );
  }
}
