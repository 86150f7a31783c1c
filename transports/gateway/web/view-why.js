// Why did, or would, a connection get an event: the server's own routing decision, check by check.

import { problemLine } from "./api.js";
import { $, choose, h, setOptions } from "./dom.js";
import { clientName, clock, duration, oneLine, visible } from "./model.js";

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
    const shown = connections.map((c) => this.#connection(c, connections.length === 1));
    $("why-answer").replaceChildren(
      h("p", { class: "verdict" }, h("b", {}, visible(String(answer.type))), " to ", h("b", {}, visible(String(answer.to))), `: ${reached} of ${connections.length} ${connections.length === 1 ? "connection gets" : "connections get"} it now`),
      ...connections.map((c, i) => [Number(c.delivered), shown[i]]).sort((a, b) => b[0] - a[0]).map(([, element]) => element),
      connections.length === 0 ? h("p", { class: "muted" }, "No connection is open.") : "",
    );
  }

  #connection(c, only) {
    const mine = c.connection_id === this.app.link.connection.id;
    const checks = Array.isArray(c.checks) ? c.checks : [];
    const subscriptions = Array.isArray(c.subscriptions) ? c.subscriptions.map(String) : [];
    const fact = (name, ...value) => [h("dt", {}, name), h("dd", {}, ...value)];
    const since = Date.parse(c.decided_by?.at ?? "");
    return h(
      "details",
      { class: `explained ${c.delivered ? "good" : "bad"}`, open: only || mine },
      h(
        "summary",
        {},
        h("b", { class: c.delivered ? "good" : "bad" }, c.delivered ? "delivered" : "withheld"),
        h("span", {}, visible(String(c.connection_id))),
        h("span", {}, c.user_id ? visible(String(c.user_id)) : h("span", { class: "muted" }, "no user")),
        c.client ? h("span", { class: "muted" }, oneLine(clientName(String(c.client)), 60)) : null,
        mine ? h("span", { class: "tag" }, "this page") : null,
        h("span", { class: "because" }, visible(String(c.reason ?? ""))),
      ),
      h(
        "dl",
        { class: "facts-list" },
        ...fact("decided by", [c.decided_by?.kind, c.decided_by?.name].filter(Boolean).map(String).map(visible).join(" "), Number.isNaN(since) ? "" : `, since ${clock(c.decided_by.at).slice(0, 8)} (${duration(Date.now() - since)} ago)`, h("span", { class: "muted" }, ` ${visible(String(c.rule ?? ""))}`)),
        ...fact("user", c.user_id ? visible(String(c.user_id)) : "none, or not shown to you"),
        ...fact("client", c.client ? visible(String(c.client)) : "not known, or not shown to you"),
        ...fact("subscriptions", h("span", { class: "chips" }, ...(subscriptions.length === 0 ? [h("span", { class: "muted" }, "none")] : subscriptions.map((to) => h("span", { class: "chip" }, visible(to)))))),
      ),
      h(
        "ol",
        { class: "checks", "aria-label": "Checks" },
        ...checks.map((check) => h("li", { class: check.passed ? "good" : "bad" }, h("b", {}, check.passed ? "pass" : "fail"), h("code", {}, visible(String(check.rule))), h("span", {}, visible(String(check.reason))))),
        checks.length === 0 ? h("li", { class: "muted" }, "no checks were reported") : null,
      ),
    );
  }
}
