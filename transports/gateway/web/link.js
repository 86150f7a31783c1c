// The inspector's connection: one WebSocket that comes back by itself, resumes where it stopped, and knows when not to
// come back. The socket class, the timers and the randomness are handed in, so that tests drive it without a network.

import { covers, decode, duration, newConnection, oneLine, reduceConnection } from "./model.js";

/** Events fetched from the history when the page opens. */
export const BACKFILL = 2000;

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;
const CONNECT_TIMEOUT_MS = 10_000;
const REPLY_TIMEOUT_MS = 10_000;
const PING_EVERY_MS = 15_000;
const SILENCE_MS = 40_000;

/** What every close code means for this client: `retry`, `stop` (the person decides), `token` or `forbidden`. */
export function closePolicy(code) {
  switch (code) {
    case 1000: return { then: "stop", why: "the server ended the connection" };
    case 1001: return { then: "retry", why: "the server is going away" };
    case 1008: return { then: "stop", why: "closed by an administrator" };
    case 1009: return { then: "retry", why: "a frame was too large" };
    case 1012: return { then: "retry", why: "the server restarts" };
    case 4000: return { then: "stop", why: "the server did not understand this page (protocol error)" };
    case 4001: return { then: "token", why: "the token is missing, wrong or expired" };
    case 4002: return { then: "retry", why: "the connection went silent" };
    case 4003: return { then: "forbidden", why: "this token may not observe" };
    case 4008: return { then: "retry", why: "this page read too slowly" };
    case 4009: return { then: "stop", why: "another connection took this one's place" };
    case 4029: return { then: "retry", why: "too many commands", atLeast: 10_000 };
    default: return { then: "retry", why: code === 1006 ? "the connection was lost" : `closed with code ${code}` };
  }
}

/** Milliseconds before attempt `n` (0, 1, ...): doubling from half a second to 30 s, of which 50 to 100 % by chance. */
export function backoff(attempt, random) {
  const full = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(attempt, 16));
  return Math.round(full * (0.5 + random / 2));
}

/** The token as a subprotocol name: base64url without padding of its UTF-8 bytes. */
export function tokenProtocol(token) {
  let binary = "";
  for (const byte of new TextEncoder().encode(token)) binary += String.fromCharCode(byte);
  return "eventwire.token." + btoa(binary).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/**
 * A connection that keeps itself alive.
 *
 * Options: `url` (of the socket, without query), `observe` (observe everything, with the newest BACKFILL events first),
 * `token()`, `probe()` (asks over HTTP why a socket did not open: resolves to 0 or a status), `WebSocket`, `timers`
 * ({set, clear, now}) and `random`.
 * Callbacks: `onState(state)` with `{phase, detail, retryAt, code}`, `onFrame(frame, text)`, `onNote(label, text, tone)`.
 * Phases: idle, connecting, live, waiting, stopped, token, forbidden.
 */
export class Link {
  #socket = null;
  #attempt = 0;
  #timer = null;
  #pinger = null;
  #heardAt = 0;
  #hint = null;
  #nextId = 0;
  #replies = new Map();
  // Root -> where this page stands in it, each root on its own, as the server keeps them:
  //   at         last seq known to be here without a hole before it; null while nothing is known
  //   kind       named: subscribed; own: comes without asking; unnamed: unsubscribed, but `*` goes on with it
  //   awaited    asked for from `at` on; what comes before the answer comes again behind it, and does not count
  //   replaying  between `replaying` and `recovered`
  #places = new Map();
  #since = new Map();
  #epoch = null;
  #filled = false;

  constructor(options) {
    this.options = {
      observe: false,
      backfill: BACKFILL,
      token: () => null,
      probe: async () => 0,
      WebSocket: globalThis.WebSocket,
      timers: { set: (f, ms) => setTimeout(f, ms), clear: (t) => clearTimeout(t), now: () => Date.now() },
      random: Math.random,
      onState() {},
      onFrame() {},
      onNote() {},
      ...options,
    };
    this.state = { phase: "idle", detail: "", retryAt: null, code: null };
    this.connection = newConnection();
    this.roundTrip = null;
    /** Why the server does not let this connection observe everything, or null. */
    this.refusal = null;
    /** Whether the older events that the page asked for when it was opened are still arriving. */
    this.filling = false;
  }

  /** Connects, now, whatever the link was doing. */
  start() {
    this.#drop();
    this.#attempt = 0;
    this.#connect();
  }

  /** Closes for good; `start` opens again. */
  stop(detail = "closed by this page") {
    this.#drop();
    this.#enter("stopped", detail, { code: 1000 });
  }

  /** Whether the frame is in its order: one that comes before a replay that was asked for will come again in it. */
  settled(frame) {
    return this.#placeOf(frame)?.awaited !== true;
  }

  /** Sends text as it stands; false when there is no open connection. */
  sendText(text) {
    if (this.state.phase !== "live" || this.#socket === null) return false;
    this.#expect(text);
    this.#socket.send(text);
    return true;
  }

  // A subscription from a point in the past starts at that point, not at the head which its reply names.
  #expect(text) {
    const { frame } = decode(text);
    if (frame?.type !== "subscribe" || !Array.isArray(frame.data.streams)) return;
    for (const stream of frame.data.streams) {
      if (typeof stream?.to === "string" && Number.isSafeInteger(stream.since)) this.#since.set(stream.to, stream.since);
    }
  }

  /** Sends a command and resolves with the reply frame; rejects when the connection ends or nothing comes for 10 s. */
  command(type, data, id = `i${++this.#nextId}`) {
    return new Promise((resolve, reject) => {
      if (!this.sendText(JSON.stringify({ type, id, data }))) {
        reject(new Error("not connected"));
        return;
      }
      const timer = this.options.timers.set(() => {
        this.#replies.delete(id);
        reject(new Error(`no reply to ${type} within ${duration(REPLY_TIMEOUT_MS)}`));
      }, REPLY_TIMEOUT_MS);
      this.#replies.set(id, { resolve, reject, timer });
    });
  }

  // ------------------------------------------------------------------------------------------ life of one socket

  #connect() {
    const { options } = this;
    this.#enter("connecting", this.#attempt === 0 ? "" : `attempt ${this.#attempt + 1}`);
    const resuming = this.#resumable();
    const url = options.url + (options.observe && !resuming ? "?observe=1" : "");
    const token = options.token();
    let socket;
    try {
      socket = new options.WebSocket(url, token ? ["eventwire.v1", tokenProtocol(token)] : ["eventwire.v1"]);
    } catch (error) {
      this.#later(`cannot open ${url}: ${error.message}`);
      return;
    }
    this.#socket = socket;
    this.#hint = null;
    let welcomed = false;
    this.#timer = options.timers.set(() => this.#lost(socket, 1006, "no answer from the server", welcomed), CONNECT_TIMEOUT_MS);
    socket.onmessage = (event) => {
      if (this.#socket !== socket) return;
      this.#heardAt = options.timers.now();
      const { frame, error } = decode(String(event.data));
      if (error) {
        options.onNote("unreadable", `${error}: ${oneLine(event.data, 120)}`, "bad");
        return;
      }
      if (!welcomed && frame.type === "connection.welcome") {
        welcomed = true;
        this.#welcome(frame, resuming);
      }
      this.#receive(frame, String(event.data));
    };
    socket.onclose = (event) => this.#lost(socket, event.code, event.reason, welcomed);
    socket.onerror = () => {};
  }

  #welcome(frame, resuming) {
    const { timers } = this.options;
    timers.clear(this.#timer);
    this.#timer = null;
    this.#attempt = 0;
    this.filling = false;
    this.refusal = null;
    const known = this.#epoch;
    this.#epoch = String(frame.data.epoch);
    this.connection = reduceConnection(this.connection, frame);
    this.#enter("live", "");
    this.#since.clear();
    if (!resuming) {
      this.#places.clear();
      this.#filled = false;
    } else if (known !== this.#epoch) {
      // Positions of an ended history mean nothing in the new one: of that the page gets the newest part, as it did when
      // it was opened, and the other subscriptions begin at the beginning.
      for (const [root, place] of this.#places) place.at = this.options.observe && (root === "*" || place.kind === "own") ? null : 0;
    }
    this.#own(frame.data);
    if (resuming) this.#resume(known === this.#epoch);
    this.#beat();
  }

  // What comes without asking has an order of its own beside that of everything else.
  #own({ user_id: user, session_id: session }) {
    const roots = new Set(["global"]);
    if (typeof user === "string") roots.add(`user:${user}`);
    if (typeof session === "string") roots.add(`session:${session}`);
    for (const [root, place] of this.#places) if (place.kind === "own" && !roots.has(root)) this.#places.delete(root);
    for (const root of roots) this.#place(root, "own").kind = "own";
  }

  #place(root, kind) {
    if (!this.#places.has(root)) this.#places.set(root, { at: null, kind, awaited: false, replaying: false });
    return this.#places.get(root);
  }

  #resume(same) {
    const star = this.#places.get("*");
    for (const [root, place] of this.#places) {
      if (place.kind !== "unnamed") continue;
      // It comes under `*` again, which must not begin behind where this one was.
      if (place.replaying && star.at !== null) star.at = Math.min(star.at, place.at);
      this.#places.delete(root);
    }
    this.#filled = star === undefined ? same : star.at !== null;
    const streams = [];
    for (const [root, place] of this.#places) {
      // The server begins these with `*`, unless they are named.
      if (place.kind === "own") place.at ??= star?.at ?? null;
      place.awaited = place.at !== null;
      place.replaying = false;
      if (place.awaited) streams.push({ to: root, since: place.at });
      else if (place.kind === "named") streams.push({ to: root });
    }
    this.command("subscribe", { epoch: this.#epoch, streams }).then((reply) => this.#refused("subscribe", reply), () => {});
  }

  #receive(frame, text) {
    const { data } = frame;
    this.connection = reduceConnection(this.connection, frame);
    // The page hears of a frame before the link acts on it.
    this.options.onFrame(frame, text);
    if (typeof data.re === "string" && this.#replies.has(data.re)) {
      const { resolve, timer } = this.#replies.get(data.re);
      this.#replies.delete(data.re);
      this.options.timers.clear(timer);
      resolve(frame);
    }
    switch (frame.type) {
      case "connection.subscribed":
        this.#subscribed(objects(data.streams), objects(data.refused));
        this.#enter("live", "");
        break;
      case "connection.unsubscribed":
        for (const { to } of objects(data.streams)) this.#unsubscribed(to);
        this.#enter("live", "");
        break;
      case "connection.replaying":
        if (this.#places.has(data.stream)) this.#places.get(data.stream).replaying = true;
        break;
      case "connection.recovered": {
        const place = this.#places.get(data.stream);
        if (data.stream === "*") this.filling = false;
        if (place === undefined) break;
        place.replaying = false;
        if (Number.isSafeInteger(data.upto)) advance(place, data.upto);
        break;
      }
      case "connection.closing":
        if (Number.isFinite(data.reconnect_after_ms)) this.#hint = data.reconnect_after_ms;
        break;
      default:
        if (Number.isSafeInteger(frame.seq)) advance(this.#placeOf(frame), frame.seq);
    }
  }

  #subscribed(streams, refused) {
    for (const { to, code, message } of refused) {
      this.#since.delete(to);
      if (this.#places.has(to)) this.#places.get(to).awaited = false;
      if (to === "*") this.refusal = String(message ?? code);
    }
    for (const { to, head } of streams) {
      if (typeof to !== "string") continue;
      if (to === "*") this.refusal = null;
      const since = this.#since.get(to);
      this.#since.delete(to);
      const place = this.#place(to, "named");
      if (place.kind === "unnamed") place.kind = "named";
      place.awaited = false;
      place.at = since ?? place.at ?? (Number.isSafeInteger(head) ? head : 0);
      if (to !== "*") continue;
      for (const [root, other] of this.#places) {
        if (other.kind === "unnamed" && since !== undefined) this.#places.delete(root);
        if (other.kind !== "own" || streams.some((stream) => stream.to === root)) continue;
        other.awaited = false;
        other.at = since ?? other.at ?? place.at;
      }
    }
    // What comes without asking is no subscription, although it is asked for when it resumes.
    const subscriptions = this.connection.subscriptions.filter((to) => this.#places.get(to)?.kind !== "own");
    this.connection = { ...this.connection, subscriptions };
    const star = streams.find(({ to }) => to === "*");
    if (star !== undefined && this.options.observe && !this.#filled) {
      this.#filled = true;
      if (Number.isSafeInteger(star.head) && star.head > 0) this.#fill(star.head);
    }
  }

  #unsubscribed(to) {
    const place = this.#places.get(to);
    if (place === undefined || place.kind === "own") return;
    if (to !== "*" && this.#places.has("*")) {
      place.kind = "unnamed";
      return;
    }
    this.#places.delete(to);
    for (const [root, { kind }] of this.#places) if (to === "*" && kind === "unnamed") this.#places.delete(root);
  }

  // Renews the subscription from a point in the past: what comes is the newest part of the history, then live.
  #fill(head) {
    const since = Math.max(0, head - this.options.backfill);
    this.filling = true;
    for (const [root, place] of this.#places) if (root === "*" || place.kind === "own") Object.assign(place, { at: since, awaited: true });
    this.command("subscribe", { epoch: this.#epoch, streams: [{ to: "*", since }] }).then((reply) => this.#refused("subscribe", reply), () => {});
  }

  #placeOf(frame) {
    return this.#places.get(String(frame.to).split("/", 1)[0]) ?? this.#places.get("*");
  }

  #resumable() {
    return this.#epoch !== null && [...this.#places.values()].some(({ kind }) => kind === "named");
  }

  #refused(type, reply) {
    if (reply.type === "connection.error") this.options.onNote("refused", `${type}: ${reply.data.code} ${reply.data.message}`, "bad");
  }

  // A browser does not see transport pings, so the page asks itself whether anybody is there.
  #beat() {
    const { timers } = this.options;
    this.#heardAt = timers.now();
    const turn = () => {
      const socket = this.#socket;
      if (timers.now() - this.#heardAt > SILENCE_MS) {
        this.#lost(socket, 4002, `nothing heard for ${duration(SILENCE_MS)}`, true);
        return;
      }
      this.#pinger = timers.set(turn, PING_EVERY_MS);
      const asked = timers.now();
      this.command("ping", { client_time: asked }).then(
        (reply) => {
          if (reply.type !== "connection.pong") return;
          this.roundTrip = timers.now() - asked;
          this.options.onState(this.state);
        },
        () => {},
      );
    };
    turn();
  }

  #lost(socket, code, reason, welcomed) {
    if (this.#socket !== socket) return;
    this.#drop();
    const policy = closePolicy(code);
    const detail = [policy.why, oneLine(reason ?? "", 120)].filter(Boolean).join(": ");
    this.connection = { ...this.connection, subscriptions: [] };
    if (policy.then === "retry" && !welcomed) {
      // A refused upgrade looks like a lost connection; HTTP tells which of the two it was.
      this.#enter("connecting", "asking why the socket did not open");
      const turn = {};
      this.#socket = turn;
      this.options.probe().then(
        (status) => {
          if (this.#socket !== turn) return;
          this.#socket = null;
          if (status === 401) this.#enter("token", "the server asks for a token", { code: 4001 });
          else if (status === 403) this.#enter("forbidden", "this token may not observe", { code: 4003 });
          else this.#later(status === 0 ? "the server does not answer" : detail);
        },
        () => {
          if (this.#socket !== turn) return;
          this.#socket = null;
          this.#later("the server does not answer");
        },
      );
      return;
    }
    if (policy.then === "retry") this.#later(detail, policy.atLeast, code);
    else this.#enter(policy.then === "stop" ? "stopped" : policy.then, detail, { code });
  }

  #later(detail, atLeast = 0, code = 1006) {
    const { timers, random } = this.options;
    let delay = backoff(this.#attempt, random());
    if (this.#hint !== null) delay = Math.max(delay, this.#hint);
    delay = Math.max(delay, atLeast);
    this.#attempt += 1;
    this.#enter("waiting", detail, { retryAt: timers.now() + delay, code });
    this.#timer = timers.set(() => this.#connect(), delay);
  }

  #drop() {
    const { timers } = this.options;
    const socket = this.#socket;
    this.#socket = null;
    timers.clear(this.#timer);
    timers.clear(this.#pinger);
    this.#timer = null;
    this.#pinger = null;
    for (const { reject, timer } of this.#replies.values()) {
      timers.clear(timer);
      reject(new Error("the connection ended before the reply came"));
    }
    this.#replies.clear();
    if (socket?.close) {
      socket.onmessage = null;
      socket.onclose = null;
      socket.close(1000);
    }
  }

  #enter(phase, detail, { retryAt = null, code = null } = {}) {
    this.state = { phase, detail, retryAt, code };
    this.options.onState(this.state);
  }
}

function objects(value) {
  return Array.isArray(value) ? value.filter((item) => item !== null && typeof item === "object") : [];
}

function advance(place, seq) {
  if (place !== undefined && !place.awaited) place.at = Math.max(place.at ?? 0, seq);
}

/**
 * Reads one audience's whole kept history over a connection of its own and closes it. Calls `onFrame` for each event of
 * the audience; resolves with the number of events, or rejects with the reason.
 */
export function readHistory({ url, token, to, WebSocket: Socket = globalThis.WebSocket, onFrame, signal }) {
  return new Promise((resolve, reject) => {
    const secret = token();
    const socket = new Socket(url, secret ? ["eventwire.v1", tokenProtocol(secret)] : ["eventwire.v1"]);
    let events = 0;
    let gap = null;
    const end = (error) => {
      socket.onmessage = null;
      socket.onclose = null;
      socket.close(1000);
      signal?.removeEventListener("abort", aborted);
      if (error) reject(error);
      else resolve({ events, gap });
    };
    const aborted = () => end(new Error("no longer wanted"));
    signal?.addEventListener("abort", aborted);
    socket.onclose = (event) => end(new Error(`the connection for the history closed (${event.code})`));
    socket.onmessage = (event) => {
      const { frame } = decode(String(event.data));
      if (!frame) return;
      const { data } = frame;
      switch (frame.type) {
        case "connection.welcome":
          socket.send(JSON.stringify({ type: "subscribe", id: "history", data: { epoch: data.epoch, streams: [{ to, since: 0 }] } }));
          break;
        case "connection.subscribed":
          if (Array.isArray(data.refused) && data.refused.length > 0) end(new Error(`${to}: ${data.refused[0].message ?? data.refused[0].code}`));
          break;
        case "connection.error":
          end(new Error(`${data.code}: ${data.message}`));
          break;
        case "connection.gap":
          if (covers(to, String(data.stream))) gap = data;
          break;
        case "connection.recovered":
          if (data.stream === to) end(null);
          break;
        default:
          if (covers(to, String(frame.to))) {
            events += 1;
            onFrame(frame);
          }
      }
    };
  });
}
