// The inspector: puts the connection, the model and the views together, and knows which view the address names.
// It uses the public API of the gateway it came from and nothing else.

import { Api } from "./api.js";
import { $, h, setText } from "./dom.js";
import { Link, readOlder } from "./link.js";
import { duration, eventEntry, gapSentence, markEntry, Rate, Tail } from "./model.js";
import { Runs } from "./timeline.js";
import { ConnectionsView } from "./view-connections.js";
import { ConsoleView } from "./view-console.js";
import { EventsView } from "./view-events.js";
import { RunsView } from "./view-runs.js";
import { WhyView } from "./view-why.js";

const RUNS_EVERY_MS = 200;
const VIEWS = ["events", "runs", "connections", "console", "why"];

class Inspector {
  #pending = false;
  #drawnRuns = 0;
  #drawCost = 0;
  #rate = new Rate();
  /** Streams whose past is arriving: that is no rate of anything. */
  #replaying = new Set();
  #wasLive = false;
  #blindSince = null;
  #epoch = null;

  constructor() {
    this.tail = new Tail();
    this.runs = new Runs();
    this.gaps = 0;
    this.api = new Api(new URL(".", document.baseURI), () => this.#askToken(this.#tokenReason()));
    this.link = new Link({
      url: this.api.socketUrl(),
      observe: true,
      token: () => this.api.token(),
      probe: () => this.api.probe(),
      onState: (state) => this.#state(state),
      onFrame: (frame, text) => this.#frame(frame, text),
      onHole: (hole) => this.#gap({ ...hole, reason: "they never arrived here" }),
      onNote: (label, text, tone) => this.#mark(label, text, tone),
    });
    this.views = { events: new EventsView(this), runs: new RunsView(this), connections: new ConnectionsView(this), console: new ConsoleView(this), why: new WhyView(this) };
    this.current = null;
  }

  start() {
    window.addEventListener("hashchange", () => this.#route());
    document.addEventListener("keydown", (event) => this.#key(event));
    this.#dialogs();
    this.#theme();
    $("skip").addEventListener("click", (event) => {
      event.preventDefault();
      $("main").focus();
    });
    $("banner-action").addEventListener("click", () => {
      const { phase } = this.link.state;
      if (phase === "token" || phase === "forbidden" || this.link.refusal !== null) this.#askToken();
      else if (phase === "live") this.link.observe();
      else this.link.start();
    });
    setInterval(() => this.#status(), 1000);
    this.#route();
    this.link.start();
  }

  // ------------------------------------------------------------------------------------------ what views use

  href(path, params = {}) {
    const query = String(new URLSearchParams(params));
    return `#/${path}${query ? `?${query}` : ""}`;
  }

  /** Goes to a view; `replace` leaves no entry in the browser's history. */
  go(path, params = {}, replace = false) {
    const href = this.href(path, params);
    if (replace) history.replaceState(null, "", href);
    else history.pushState(null, "", href);
    this.#route();
  }

  /** Draws the view in sight at the next frame of the screen. */
  refresh() {
    if (this.#pending) return;
    this.#pending = true;
    requestAnimationFrame(() => {
      this.#pending = false;
      this.tail.trim();
      if (this.current === "runs") {
        // A long story takes longer to draw: never more than a fifth of the time is spent on it.
        const wait = this.#drawnRuns + Math.max(RUNS_EVERY_MS, 4 * this.#drawCost) - performance.now();
        if (wait > 0) {
          this.#pending = true;
          setTimeout(() => {
            this.#pending = false;
            this.refresh();
          }, wait);
          return;
        }
      }
      const began = performance.now();
      this.views[this.current].refresh();
      this.#drawnRuns = performance.now();
      this.#drawCost = this.#drawnRuns - began;
    });
  }

  /** Reads an older part of the history into the list of events; resolves to how many were new, rejects with the reason. */
  async loadOlder() {
    const epoch = this.link.connection.epoch;
    const before = this.tail.before(epoch);
    if (before === null || this.link.state.phase !== "live") return 0;
    const { events, from, complete } = await readOlder({ url: this.api.socketUrl(), token: () => this.api.token(), before });
    // The server may have begun a new history meanwhile.
    if (this.link.connection.epoch !== epoch) return 0;
    const added = this.tail.prepend(events.map(({ frame, text }) => eventEntry(frame, text, epoch)), { from, complete });
    for (const { frame } of events) this.runs.ingest(frame);
    this.refresh();
    return added;
  }

  chosenEvent() {
    const entry = this.views.events.selected;
    return entry !== null && entry.kind === "event" && !entry.own ? entry : null;
  }

  /** Goes to the view that says why connections get this event, or do not. */
  askWhy({ type, to, seq }) {
    this.go("why", { type, to, ...(seq === null ? {} : { seq }) });
  }

  connections() {
    return this.views.connections.connections;
  }

  readConnections() {
    return this.views.connections.read();
  }

  /** A command line that publishes an event to this gateway. */
  curl(adw = "demo0001") {
    const body = JSON.stringify({ type: "adw.text_block", to: `adw:${adw}`, data: { adw_id: adw, content: "hello" } });
    const token = this.api.token() ? " \\\n  -H 'authorization: Bearer <token>'" : "";
    return h("pre", { class: "curl", tabindex: "0" }, `curl '${this.api.url("v1/events")}'${token} \\\n  -H 'content-type: application/json' \\\n  -d '${body}'`);
  }

  showImage(source, title) {
    $("image-full").src = source;
    $("image-full").alt = `screenshot ${title}`;
    setText($("image-title"), title);
    $("image-dialog").showModal();
  }

  // ------------------------------------------------------------------------------------------ frames

  #frame(frame, text) {
    const { data } = frame;
    switch (frame.type) {
      case "connection.welcome":
        this.#replaying.clear();
        this.#rate.start(performance.now());
        if (this.#epoch !== null && this.#epoch !== data.epoch) {
          this.runs.clear();
          this.views.runs.restart();
          this.#mark("new history", `the server began a new history (epoch ${data.epoch}): seq starts over, earlier events cannot be replayed`, "gap");
        }
        this.#epoch = data.epoch;
        break;
      case "connection.gap":
        this.#gap(data, text);
        break;
      case "connection.replaying":
        this.#replaying.add(String(data.stream));
        break;
      case "connection.recovered":
        if (this.#replaying.delete(String(data.stream)) && this.#replaying.size === 0) this.#rate.start(performance.now());
        break;
      default:
        if (!frame.type.startsWith("connection.") && this.#replaying.size === 0) this.#rate.add(performance.now());
        break;
    }
    if (frame.type !== "connection.gap" && this.tail.push(eventEntry(frame, text, this.#epoch))) this.runs.ingest(frame);
    if (this.tail.entries.length > this.tail.maxEntries * 1.2 || this.tail.characters > this.tail.maxCharacters * 1.2) this.tail.trim();
    this.views.console.received(frame);
    this.refresh();
  }

  #gap(data, text = null) {
    const stream = String(data.stream ?? "");
    const adw = stream.startsWith("adw:") ? stream.slice(4).split("/", 1)[0] : null;
    // What the history had let go before this page was opened is no loss of this page.
    const lost = !(this.link.filling && data.reason === "expired");
    if (lost) this.gaps += 1;
    else if (stream === "*") this.tail.complete = true;
    this.tail.push(markEntry(lost ? "gap" : "history begins", gapSentence(data), lost ? "gap" : "info", new Date().toISOString(), text, adw));
  }

  #mark(label, text, tone) {
    this.tail.push(markEntry(label, text, tone, new Date().toISOString()));
    this.refresh();
  }

  // ------------------------------------------------------------------------------------------ connection

  #state(state) {
    const live = state.phase === "live";
    if (live && !this.#wasLive) for (const view of Object.values(this.views)) view.connected?.();
    if (!live && this.#wasLive) this.#mark("disconnected", state.detail, "bad");
    this.#wasLive = live;
    if (state.phase === "token") this.#askToken(this.#tokenReason());
    this.#status();
    if (this.current !== null) this.refresh();
  }

  #status() {
    const { state, connection, roundTrip } = this.link;
    const now = performance.now();
    const observing = connection.subscriptions.includes("*");
    const word = { idle: "idle", connecting: "connecting", live: observing ? "live" : "connected", waiting: "waiting", stopped: "closed", token: "token needed", forbidden: "not permitted" }[state.phase];
    setText($("status-word"), word);
    $("lamp").className = `lamp ${state.phase}`;
    const rate = this.#replaying.size > 0 ? null : this.#rate.perSecond(now);
    const facts = state.phase === "live" ? [connection.id, roundTrip === null ? "" : `${Math.max(0, Math.round(roundTrip))} ms`, rate === null ? "" : `${rate.toFixed(rate === 0 || rate >= 10 ? 0 : 1)} ev/s`] : [];
    setText($("status-facts"), facts.filter(Boolean).join(" · "));
    $("status").title = [connection.server && `server ${connection.server}`, connection.epoch && `epoch ${connection.epoch}`, connection.user && `user ${connection.user}`, connection.permissions.length > 0 && `permissions ${connection.permissions.join(" ")}`].filter(Boolean).join("\n");
    setText($("token-button"), this.api.token() ? "token set" : "token");
    const banner = $("banner");
    const show = (text, action) => {
      banner.hidden = text === "";
      setText($("banner-text"), text);
      setText($("banner-action"), action);
      $("banner-action").hidden = action === "";
    };
    switch (state.phase) {
      case "waiting":
        // The countdown stands outside the announced text, or it would be read aloud every second.
        show(`Disconnected: ${state.detail}.`, `try now (next in ${duration(Math.ceil(Math.max(0, state.retryAt - Date.now()) / 1000) * 1000).replace(".0", "")})`);
        break;
      case "stopped":
        show(`Closed: ${state.detail}${state.code === null ? "" : ` (code ${state.code})`}. This page does not come back by itself.`, "connect");
        break;
      case "token":
        show(`Not connected: ${state.detail}.`, "enter token");
        break;
      case "forbidden":
        show(`Not connected: ${state.detail}${state.code === null ? "" : ` (code ${state.code})`}. The inspector needs the permission observe.`, "other token");
        break;
      case "live":
        // The subscription is renewed for a moment while the history is fetched: that is not worth a word.
        if (observing) this.#blindSince = null;
        else this.#blindSince ??= now;
        if (this.link.refusal !== null) show(`This page sees no events: ${this.link.refusal}.`, "other token");
        else if (observing || now - this.#blindSince < 1500) show("", "");
        else show("This page's connection no longer observes everything.", "observe");
        break;
      default:
        show("", "");
    }
  }

  // ------------------------------------------------------------------------------------------ address, keys, dialogs

  #route() {
    const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
    const [name, rest = ""] = path.split("/", 2);
    const view = VIEWS.includes(name) ? name : "events";
    if (this.current !== view) {
      if (this.current !== null) this.views[this.current].hide?.();
      for (const other of VIEWS) this.views[other].element.hidden = other !== view;
      for (const tab of $("tabs").querySelectorAll("a")) {
        if (tab.dataset.view === view) tab.setAttribute("aria-current", "page");
        else tab.removeAttribute("aria-current");
      }
      this.current = view;
      document.title = `${view} · Eventwire inspector`;
    }
    let decoded = rest;
    try {
      decoded = decodeURIComponent(rest);
    } catch {
      // An address somebody typed: taken as it stands.
    }
    this.views[view].show(new URLSearchParams(query), decoded);
  }

  #key(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || document.querySelector("dialog[open]")) return;
    const index = "12345".indexOf(event.key);
    if (index >= 0 && event.key.length === 1) this.go(VIEWS[index]);
    else if (event.key === "?") $("help-dialog").showModal();
    else if (event.key === "/") {
      if (this.current === "connections") $("connections-text").focus();
      else {
        if (this.current !== "events") this.go("events");
        $("filter-text").focus();
      }
    } else if (event.key === "p" && this.current === "events") this.views.events.togglePause();
    else if (event.key === "f" && this.current === "events") this.views.events.toggleFollow();
    else if (event.key === "w" && this.chosenEvent() !== null) this.askWhy(this.chosenEvent());
    else return;
    event.preventDefault();
  }

  #tokenReason() {
    return this.api.token() ? "The server did not accept the token." : "The server asks for a token.";
  }

  #askToken(reason = "") {
    setText($("token-reason"), `${reason} The token is kept for this browser tab only, until it is closed.`.trim());
    if ($("token-dialog").open) return;
    $("token-input").value = "";
    $("token-forget").hidden = !this.api.token();
    $("token-dialog").showModal();
    $("token-input").focus();
  }

  #dialogs() {
    $("token-button").addEventListener("click", () => this.#askToken());
    $("token-cancel").addEventListener("click", () => $("token-dialog").close());
    const reconnect = (token) => {
      this.api.setToken(token);
      $("token-dialog").close();
      this.link.start();
    };
    $("token-forget").addEventListener("click", () => reconnect(null));
    $("token-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const token = $("token-input").value.trim();
      $("token-input").value = "";
      if (token !== "") reconnect(token);
    });
    $("help-button").addEventListener("click", () => $("help-dialog").showModal());
    $("help-close").addEventListener("click", () => $("help-dialog").close());
    $("image-close").addEventListener("click", () => $("image-dialog").close());
    for (const dialog of document.querySelectorAll("dialog")) {
      dialog.addEventListener("click", (event) => {
        if (event.target === dialog) dialog.close();
      });
    }
  }

  #theme() {
    const order = ["system", "light", "dark"];
    const root = document.documentElement;
    const label = () => setText($("theme-button"), `theme: ${root.dataset.theme ?? "system"}`);
    $("theme-button").addEventListener("click", () => {
      const next = order[(order.indexOf(root.dataset.theme ?? "system") + 1) % order.length];
      if (next === "system") delete root.dataset.theme;
      else root.dataset.theme = next;
      try {
        if (next === "system") localStorage.removeItem("eventwire.theme");
        else localStorage.setItem("eventwire.theme", next);
      } catch {
        // Storage can be forbidden: the choice then lasts as long as the page.
      }
      label();
    });
    label();
  }
}

new Inspector().start();
