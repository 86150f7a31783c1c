// Who is connected now: the admin list, asked for again every two seconds while it is in sight.

import { problemLine } from "./api.js";
import { $, arrange, h, setText } from "./dom.js";
import { bytes, clock, duration, visible } from "./model.js";

const EVERY_MS = 2000;

export class ConnectionsView {
  #rows = new Map();
  #timer = null;
  #connections = [];
  #asking = false;

  constructor(app) {
    this.app = app;
    this.element = $("view-connections");
    $("connections-refresh").addEventListener("click", () => this.#load());
    $("connections-text").addEventListener("input", () => this.#draw());
  }

  /** The list as last read, for the choice of a connection elsewhere. */
  get connections() {
    return this.#connections;
  }

  show() {
    this.#load();
  }

  hide() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  connected() {
    if (!this.element.hidden) this.#load();
  }

  refresh() {}

  /** Reads the list once; resolves when it is there, rejects when the server refuses. */
  async read() {
    const { connections } = await this.app.api.json("GET", "v1/connections");
    this.#connections = Array.isArray(connections) ? connections : [];
    return this.#connections;
  }

  async #load() {
    clearTimeout(this.#timer);
    if (this.#asking) return;
    this.#asking = true;
    let note;
    try {
      await this.read();
      note = `${this.#connections.length} connected`;
    } catch (error) {
      this.#connections = [];
      note = "";
      $("connections-empty").replaceChildren(
        h("p", {}, `The list is not available: ${problemLine(error)}`),
        error.status === 403 ? h("p", { class: "muted" }, "It needs the permission admin. Set a token that has it with the token button above.") : null,
      );
    }
    this.#asking = false;
    setText($("connections-note"), note);
    this.#draw(note === "");
    if (!this.element.hidden) this.#timer = setTimeout(() => this.#load(), EVERY_MS);
  }

  #draw(failed = false) {
    const needle = $("connections-text").value.trim().toLowerCase();
    const shown = this.#connections.filter((c) => needle === "" || JSON.stringify(c).toLowerCase().includes(needle));
    const wanted = shown.map((connection) => this.#row(connection));
    arrange($("connections-body"), wanted);
    const gone = new Set(this.#rows.keys());
    for (const connection of this.#connections) gone.delete(connection.connection_id);
    for (const id of gone) this.#rows.delete(id);
    $("connections-table").hidden = shown.length === 0;
    $("connections-empty").hidden = shown.length > 0;
    if (shown.length === 0 && !failed) $("connections-empty").replaceChildren(h("p", {}, needle === "" ? "Nobody is connected." : "No connection matches."));
  }

  #row(connection) {
    const id = String(connection.connection_id);
    let row = this.#rows.get(id);
    if (row === undefined) {
      row = this.#newRow(id);
      this.#rows.set(id, row);
    }
    const { cells } = row;
    const mine = id === this.app.link.connection.id;
    row.element.className = [mine ? "mine" : "", connection.lagging ? "lagging" : ""].filter(Boolean).join(" ");
    setText(cells.id, id);
    setText(cells.mine, mine ? "this page" : connection.lagging ? "lagging" : "");
    setText(cells.link, [connection.transport, connection.dialect].filter(Boolean).join(" / "));
    setText(cells.who, [connection.user_id, connection.session_id && `session ${connection.session_id}`, connection.role].filter(Boolean).map(visible).join("  ") || "anonymous");
    chips(cells.subscriptions, connection.subscriptions, "none");
    setText(cells.permissions, (connection.permissions ?? []).join(" ") || "no permissions");
    setText(cells.queued, `${connection.queued_frames ?? 0}` + (connection.queued_bytes ? ` (${bytes(connection.queued_bytes)})` : ""));
    setText(cells.delivered, String(connection.delivered ?? ""));
    setText(cells.dropped, String(connection.dropped ?? ""));
    const at = Date.parse(connection.connected_at);
    setText(cells.since, `${clock(connection.connected_at ?? "").slice(0, 8)}` + (Number.isNaN(at) ? "" : ` (${duration(Date.now() - at)})`));
    setText(cells.from, visible(String(connection.remote_address ?? "")));
    setText(cells.agent, visible(String(connection.user_agent ?? "")));
    return row.element;
  }

  #newRow(id) {
    const cells = {
      id: h("span"), mine: h("span", { class: "tag" }), link: h("span", { class: "second" }), who: h("span"), subscriptions: h("span", { class: "chips" }), permissions: h("span", { class: "second" }),
      queued: h("span"), delivered: h("span"), dropped: h("span"), since: h("span"), from: h("span"), agent: h("span", { class: "second agent" }),
    };
    const why = h("a", { class: "button quiet", href: this.app.href("why", { connection: id }), "aria-label": `why does ${id} get an event` }, "why");
    const kick = h("button", { type: "button", class: "quiet danger", "aria-label": `kick ${id}`, on: { click: () => this.#kick(id, kick) } }, "kick");
    kick.addEventListener("blur", () => this.#unarm(id, kick));
    const td = (label, className, ...children) => h("td", { "data-label": label, class: className }, ...children);
    const element = h(
      "tr", {},
      td("connection", "", h("div", {}, cells.id, " ", cells.mine), cells.link), td("who", "wide", h("div", {}, cells.who), cells.permissions), td("subscriptions", "wide", cells.subscriptions),
      td("queued", "num", cells.queued), td("delivered", "num", cells.delivered), td("dropped", "num", cells.dropped),
      td("since", "", cells.since), td("from", "", h("div", {}, cells.from, cells.agent)), td("", "actions", why, kick),
    );
    return { element, cells };
  }

  async #kick(id, button) {
    if (button.textContent === "kick") {
      setText(button, "sure?");
      button.setAttribute("aria-label", `sure? kick ${id}`);
      return;
    }
    button.disabled = true;
    try {
      await this.app.api.json("DELETE", `v1/connections/${encodeURIComponent(id)}`);
    } catch (error) {
      setText($("connections-note"), `${id}: ${problemLine(error)}`);
    }
    button.disabled = false;
    this.#unarm(id, button);
    this.#load();
  }

  #unarm(id, button) {
    setText(button, "kick");
    button.setAttribute("aria-label", `kick ${id}`);
  }
}

function chips(parent, names, none) {
  const list = Array.isArray(names) ? names.map(String) : [];
  const key = list.join("\n");
  if (parent.dataset.key === key) return;
  parent.dataset.key = key;
  parent.replaceChildren(...(list.length === 0 ? [h("span", { class: "muted" }, none)] : list.map((name) => h("span", { class: "chip" }, visible(name)))));
}
