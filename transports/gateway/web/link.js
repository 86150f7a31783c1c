// The inspector's connection: the client of schemas/typescript (eventwire.js is its build), as this page needs it. The client
// connects, comes back, resumes and finds holes; here is what the page adds: it observes with the newest part of the history
// first, says in words where it stands, asks over HTTP why a socket did not open, and sends what a person typed.

import { createClient } from "./eventwire.js";
import { covers, decode, newConnection, oneLine, reduceConnection } from "./model.js";

/** Events fetched from the history when the page opens. */
export const BACKFILL = 2000;

/** What a close code means to the person at the screen. */
const WORDS = {
  401: "the token is missing, wrong or expired",
  403: "this token may not observe",
  1000: "the server ended the connection",
  1001: "the server is going away",
  1006: "the connection was lost",
  1008: "closed by an administrator",
  1009: "a frame was too large",
  1012: "the server restarts",
  1013: "the server has no room for this connection or message",
  4000: "the server did not understand this page (protocol error)",
  4001: "the token is missing, wrong or expired",
  4002: "the connection went silent",
  4003: "this token may not observe",
  4008: "this page read too slowly",
  4009: "another connection took this one's place",
  4029: "too many commands",
};

/** Why a connection ended, in one line. */
export function ending(code, reason) {
  return [WORDS[code] ?? `closed with code ${code}`, reason === "connection lost" ? "" : oneLine(reason ?? "", 120)].filter(Boolean).join(": ");
}

/**
 * A connection that keeps itself alive.
 *
 * Options: `url` (of the socket, without query), `observe` (observe everything, with the newest `backfill` events first),
 * `token()`, `probe()` (asks over HTTP why a socket did not open: resolves to 0 or a status) and `WebSocket`.
 * Callbacks: `onState(state)` with `{phase, detail, retryAt, code}`, `onFrame(frame, text)` for every event once and for all
 * frames about the connection, `onHole(hole)` with `{stream, from_seq, to_seq}`, `onNote(label, text, tone)`.
 * Phases: idle, connecting, live, waiting, stopped, token, forbidden.
 */
export class Link {
  #client;
  #text = "";
  #welcomed = false;
  /** Whether `*` is wanted, and whether the newest part of its history was asked for. */
  #observing = false;
  #filled = false;
  /** What comes without asking has an order of its own beside that of everything else. */
  #own = new Set();
  /** What a person typed is subscribed to and unsubscribed from, by the id of the command: the client does not know of it. */
  #typed = new Map();

  constructor(options) {
    this.options = { observe: false, backfill: BACKFILL, token: () => null, probe: async () => 0, onState() {}, onFrame() {}, onHole() {}, onNote() {}, ...options };
    this.state = { phase: "idle", detail: "", retryAt: null, code: null };
    this.connection = newConnection();
    /** Why the server does not let this connection observe everything, or null. */
    this.refusal = null;
    /** Whether the older events that the page asked for when it was opened are still arriving. */
    this.filling = false;
    const { url, WebSocket } = this.options;
    // The token is set by `start`: a page without one may be let in.
    const client = createClient(url, { transports: ["websocket"], WebSocket });
    this.#client = client;
    client.on("state", (state) => this.#changed(state));
    client.on("frame", ({ text, event }) => this.#frame(text, event));
    client.on("*", (event) => this.options.onFrame(event, this.#text));
    client.on("connection.subscribed", (event) => this.#subscribed(event.data));
    client.on("gap", ({ reason, stream, from_seq, to_seq }) => {
      if (reason === "hole") this.options.onHole({ stream, from_seq, to_seq });
    });
    client.on("refused", ({ to, code, message }) => {
      if (to !== "*" && !this.#own.has(to)) this.options.onNote("refused", `${to}: ${code} ${message}`, "bad");
    });
  }

  /** Milliseconds that the last ping took, or null. */
  get roundTrip() {
    return this.#client.latency ?? null;
  }

  /** Connects, now, whatever the link was doing. */
  start() {
    this.#leave();
    // Without a connection this is no command: it says what the next one is made with.
    this.#client.authenticate(this.options.token() ?? "").catch(() => {});
    if (this.options.observe) this.observe();
    this.#client.start();
  }

  /** Closes for good; `start` opens again. */
  stop(detail = "closed by this page") {
    this.#leave();
    this.#enter("stopped", detail, { code: 1000 });
  }

  /** Observes everything, if it does not already. */
  observe() {
    this.#observing = true;
    // What becomes of it is in the answer, which is a frame.
    this.#client.subscribe("*").catch(() => {});
  }

  /** Sends text as it stands; false when there is no open connection. */
  sendText(text) {
    if (!this.#client.sendText(text)) return false;
    const { frame } = decode(text);
    if (/^(un)?subscribe$/.test(frame?.type) && Array.isArray(frame.data.streams)) this.#typed.set(frame.id, objects(frame.data.streams));
    return true;
  }

  // ------------------------------------------------------------------------------------------ frames

  #frame(text, event) {
    this.#text = text;
    if (event === undefined) {
      const { frame, error } = decode(text);
      if (error) this.options.onNote("unreadable", `${error}: ${oneLine(text, 120)}`, "bad");
      else this.options.onFrame(frame, text);
      return;
    }
    const { type, data } = event;
    // Events come by `*`, in their order and each once.
    if (!type.startsWith("connection.")) return;
    if (type === "connection.welcome") this.#welcome(data);
    if (type === "connection.unsubscribed" && objects(data.streams).some(({ to }) => to === "*")) this.#observing = false;
    if (type === "connection.error") this.#typed.delete(data.re);
    this.connection = this.#reduced(event);
    // The page hears of a frame before the client acts on it.
    this.options.onFrame(event, text);
    if (type === "connection.recovered" && data.stream === "*") this.filling = false;
    if (type === "connection.unsubscribed") {
      // It goes out once more, so that the client knows.
      if (this.#typed.delete(data.re)) this.#client.unsubscribe(objects(data.streams).map(({ to }) => to)).catch(() => {});
      this.#enter("live", "");
    }
  }

  // Comes before the client subscribes to anything.
  #welcome({ epoch, user_id: user, session_id: session }) {
    const { epoch: known, positions } = this.#client.checkpoint();
    const star = positions["*"];
    this.#own = new Set(["global", ...(user ? [`user:${user}`] : []), ...(session ? [`session:${session}`] : [])]);
    this.#typed.clear();
    this.refusal = null;
    if (known !== epoch) {
      // The client begins at the beginning of a new history; of that the page gets the newest part, as when it was opened.
      this.#filled = false;
    } else if (star !== undefined) {
      // Until now it came under `*`, perhaps: of another person it did.
      this.#ask([...this.#own].filter((to) => positions[to] === undefined).map((to) => ({ to, since: star })));
    }
    this.filling = !this.#filled && star !== undefined;
    // A refusal is not for ever: the next connection asks again.
    if (this.#observing) this.observe();
  }

  #ask(wishes) {
    if (wishes.length > 0) this.#client.subscribe(wishes).catch(() => {});
  }

  // What comes without asking is no subscription, although the client names it so that it resumes; nor is what was
  // unsubscribed and still comes under `*`.
  #reduced(event) {
    const next = reduceConnection(this.connection, event);
    if (event.type !== "connection.subscribed") return next;
    const asked = new Set([...this.#client.targets, ...(this.#typed.get(event.data.re) ?? []).map(({ to }) => to)]);
    return { ...next, subscriptions: next.subscriptions.filter((to) => asked.has(to) && !this.#own.has(to)) };
  }

  // Comes after the client has dealt with it.
  #subscribed(data) {
    const star = objects(data.streams).find(({ to }) => to === "*");
    const refused = objects(data.refused).find(({ to }) => to === "*");
    if (star) this.refusal = null;
    if (refused) this.refusal = String(refused.message ?? refused.code);
    this.#adopt(data);
    if (star && this.options.observe && !this.#filled) {
      this.#filled = true;
      const since = Math.max(0, star.head - this.options.backfill);
      if (star.head > 0 && since !== this.#client.checkpoint().positions["*"]) {
        // Renews the subscription from a point in the past: what comes is the newest part of the history, then live.
        this.filling = true;
        this.#ask(["*", ...this.#own].map((to) => ({ to, since })));
      }
    }
    this.#enter("live", "");
  }

  // The client makes what a person typed its own, or it would not come back with the next connection. Where it was to begin
  // in the past, the server begins it once more.
  #adopt({ re, streams }) {
    const typed = this.#typed.get(re);
    if (typed === undefined) return;
    this.#typed.delete(re);
    const wishes = objects(streams).map(({ to }) => {
      const since = typed.find((wish) => wish.to === to)?.since;
      return Number.isSafeInteger(since) ? { to, since } : { to };
    });
    const star = wishes.find(({ to }) => to === "*");
    if (star) this.#observing = true;
    if (star?.since !== undefined) {
      // The server begins these with `*`, unless they are named.
      for (const to of this.#own) if (!wishes.some((wish) => wish.to === to)) wishes.push({ to, since: star.since });
    }
    this.#ask(wishes);
  }

  // ------------------------------------------------------------------------------------------ phases

  #changed(state) {
    const { phase, code, reason } = state;
    if (phase === "connecting") {
      this.#welcomed = false;
      this.#enter("connecting", state.attempt === 1 ? "" : `attempt ${state.attempt}`);
    } else if (phase === "connected") {
      this.#welcomed = true;
      this.#enter("live", "");
    } else if (phase === "reconnecting") {
      this.connection = { ...this.connection, subscriptions: [] };
      if (this.#welcomed) this.#enter("waiting", ending(code, reason), state);
      else this.#probe(state);
    } else if (phase === "failed") this.#refused(code, ending(code, reason));
  }

  #refused(code, detail) {
    this.connection = { ...this.connection, subscriptions: [] };
    const phases = { 401: "token", 4001: "token", 403: "forbidden", 4003: "forbidden" };
    this.#enter(phases[code] ?? "stopped", detail, { code });
  }

  // A refused upgrade looks like a lost connection; HTTP tells which of the two it was.
  async #probe(state) {
    this.#enter("connecting", "asking why the socket did not open");
    const asked = this.state;
    const status = await this.options.probe().catch(() => 0);
    const { phase } = this.#client.state;
    if ((status === 401 || status === 403) && (phase === "reconnecting" || phase === "connecting")) {
      this.#leave();
      this.#refused(status === 401 ? 4001 : 4003, status === 401 ? "the server asks for a token" : WORDS[403]);
    } else if (this.state === asked) this.#enter("waiting", status === 0 ? "the server does not answer" : ending(state.code, state.reason), state);
  }

  // The client says `closed`, which is no phase of its own here: who closes it says why.
  #leave() {
    this.#client.close();
    this.connection = { ...this.connection, subscriptions: [] };
  }

  #enter(phase, detail, { retryAt = null, code = null } = {}) {
    this.state = { phase, detail, retryAt, code };
    this.options.onState(this.state);
  }
}

function objects(value) {
  return Array.isArray(value) ? value.filter((item) => item !== null && typeof item === "object") : [];
}

/**
 * Reads one audience's whole kept history over a connection of its own and closes it. Calls `onFrame` for each event of
 * the audience; resolves with the number of events, or rejects with the reason.
 */
export function readHistory({ url, token, to, WebSocket, onFrame, signal }) {
  return new Promise((resolve, reject) => {
    const client = createClient(url, { transports: ["websocket"], WebSocket, token: token() ?? undefined });
    let events = 0;
    let gap = null;
    let over = false;
    const end = (error) => {
      if (over) return;
      over = true;
      signal?.removeEventListener("abort", aborted);
      client.close();
      if (error) reject(error);
      else resolve({ events, gap });
    };
    const aborted = () => end(new Error("no longer wanted"));
    signal?.addEventListener("abort", aborted);
    client.on("state", ({ phase, code }) => {
      if (phase === "reconnecting" || phase === "failed") end(new Error(`the connection for the history closed (${code})`));
    });
    client.on("*", (event) => {
      if (!covers(to, String(event.to))) return;
      events += 1;
      onFrame(event);
    });
    client.on("connection.gap", ({ data }) => {
      if (covers(to, String(data.stream))) gap = data;
    });
    client.on("connection.recovered", ({ data }) => {
      if (data.stream === to) end(null);
    });
    client.subscribe({ to, since: 0 }).catch((error) => end(new Error(`${to}: ${error.message}`)));
    client.start();
  });
}

/**
 * Reads the part of the history of everything that lies before `before`, at most `count` positions of it, over a connection of
 * its own. Resolves to `{events, from, complete}`: `[{frame, text}]` in order of `seq`, the first position that was asked for,
 * and whether nothing older can be read; rejects with the reason.
 */
export function readOlder({ url, token, before, count = BACKFILL, WebSocket }) {
  return new Promise((resolve, reject) => {
    const since = Math.max(0, before - 1 - count);
    const client = createClient(url, { transports: ["websocket"], WebSocket, token: token() ?? undefined });
    const found = new Map();
    const left = new Set(["*"]);
    let own = [];
    let complete = since === 0;
    let text = "";
    let over = false;
    const end = (error) => {
      if (over) return;
      over = true;
      client.close();
      if (error) reject(error);
      else resolve({ events: [...found.values()].sort((a, b) => a.frame.seq - b.frame.seq), from: since + 1, complete });
    };
    const done = (target) => {
      left.delete(target);
      if (left.size === 0) end(null);
    };
    client.on("state", ({ phase, code }) => {
      if (phase === "reconnecting" || phase === "failed") end(new Error(`the connection for the history closed (${code})`));
    });
    client.on("frame", (frame) => {
      text = frame.text;
      // Comes before the client subscribes to anything. What comes without asking has an order of its own.
      if (frame.event?.type === "connection.welcome") begin(frame.event.data);
    });
    const begin = ({ user_id: user, session_id: session }) => {
      own = ["global", ...(user ? [`user:${user}`] : []), ...(session ? [`session:${session}`] : [])];
      for (const target of own) left.add(target);
      client.subscribe(["*", ...own].map((to) => ({ to, since }))).catch((error) => end(new Error(error.message)));
    };
    client.on("*", (event) => {
      if (!Number.isSafeInteger(event.seq)) return;
      if (event.seq < before) found.set(event.seq, { frame: event, text });
      // The replay of everything has come to what is here already; the rest of it is not waited for.
      else if (!own.some((target) => covers(target, String(event.to)))) done("*");
    });
    client.on("connection.gap", ({ data }) => {
      if (data.stream === "*") complete = true;
    });
    client.on("refused", ({ to, message }) => {
      if (to === "*") end(new Error(message));
    });
    client.on("connection.recovered", ({ data }) => done(data.stream));
    client.start();
  });
}
