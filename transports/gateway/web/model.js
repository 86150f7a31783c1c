// What frames mean to the inspector, without a browser: decoding, one-line summaries, the bounded tail and the
// filters over it. Nothing in here touches the DOM, the clock or the network, so that all of it is tested with plain
// node (see test/).

/** Newest events kept in the tail. */
export const MAX_ENTRIES = 5000;
/** Characters of frame text kept in the tail; large frames push older ones out before MAX_ENTRIES is reached. */
export const MAX_CHARACTERS = 48 * 1024 * 1024;

// ---------------------------------------------------------------------------------------------------- decoding

/**
 * Reads one frame. Returns `{frame}` or `{error}`; an error is a sentence for the person at the screen.
 * The frame's `data` is always an object afterwards.
 */
export function decode(text) {
  let frame;
  try {
    frame = JSON.parse(text);
  } catch (error) {
    return { error: `the server sent text that is not JSON (${error.message})` };
  }
  if (frame === null || typeof frame !== "object" || Array.isArray(frame)) {
    return { error: "the server sent JSON that is not an object" };
  }
  if (typeof frame.type !== "string") return { error: 'the server sent a frame without "type"' };
  if (frame.data === null || typeof frame.data !== "object") frame.data = {};
  return { frame };
}

/** `adw.tool_use_pre` -> `adw`. A type without a dot is its own family. */
export function familyOf(type) {
  const dot = type.indexOf(".");
  return dot < 0 ? type : type.slice(0, dot);
}

/** `adw.tool_use_pre` -> `tool_use_pre`. */
export function nameOf(type) {
  return type.slice(type.indexOf(".") + 1);
}

/** The ADW a frame belongs to, by its audience or, for wider audiences, by its payload; `null` when there is none. */
export function adwOf(frame) {
  const to = typeof frame.to === "string" ? frame.to : "";
  if (to.startsWith("adw:")) return to.slice(4).split("/", 1)[0];
  const named = frame.data?.adw_id;
  return typeof named === "string" && /^[0-9A-Za-z]{8}$/.test(named) ? named : null;
}

/** Whether a subscription to `root` includes frames addressed to `to`. */
export function covers(root, to) {
  return root === "*" ? !to.startsWith("connection:") : to === root || to.startsWith(root + "/");
}

// ---------------------------------------------------------------------------------------------------- text for one line

/** Makes control characters and direction overrides visible, so that text cannot rearrange the line it stands in. */
export function visible(text) {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, (character) => {
    const code = character.charCodeAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    return `<U+${code.toString(16).toUpperCase().padStart(4, "0")}>`;
  });
}

/** `text` on one line of at most `limit` UTF-16 units, never cut inside a surrogate pair. */
export function oneLine(text, limit = 200) {
  const head = String(text).slice(0, limit * 4).replace(/\s+/g, " ").trim();
  const line = visible(head);
  if (line.length <= limit) return line;
  const cut = line.charCodeAt(limit - 1);
  const end = cut >= 0xd800 && cut <= 0xdbff ? limit - 1 : limit;
  return line.slice(0, end) + "…";
}

const string = (value) => (typeof value === "string" ? value : "");
const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);

/** The one argument of a tool call that tells a reader what the call is about. */
export function argumentOf(input) {
  if (input === null || typeof input !== "object") return "";
  for (const key of ["file_path", "notebook_path", "command", "pattern", "query", "url", "path", "description", "prompt", "subject", "task_id", "taskId"]) {
    if (typeof input[key] === "string" && input[key] !== "") return input[key];
  }
  if (Array.isArray(input.todos)) return `${input.todos.length} todos`;
  const text = JSON.stringify(input);
  return text === "{}" ? "" : text;
}

const FAILED = new Set(["failed", "failure", "error", "errored", "cancelled", "canceled", "timeout", "timed_out", "aborted"]);

/** Whether a tool result says it failed, in any of the spellings in use. One sign of failure is enough. */
export function toolFailed(data) {
  if (data.success === false || data.is_error === true) return true;
  if (FAILED.has(string(data.status).toLowerCase())) return true;
  return typeof data.error === "string" && data.error !== "";
}

/** The free-form values of a log line or a summary: `payload`, else `metadata`; `{}` when there are none. */
export function extrasOf(data) {
  for (const extras of [data.payload, data.metadata]) if (extras !== null && typeof extras === "object" && !Array.isArray(extras)) return extras;
  return {};
}

/** Whether a payload says that what it is about failed: itself, or the values that it carries. */
export function saysFailed(data) {
  const extras = extrasOf(data);
  return [data, extras].some((values) => values.is_error === true || values.success === false || FAILED.has(string(values.status).toLowerCase()));
}

const brief = {
  "adw.tool_use_pre": (d) => `${string(d.tool_name)}  ${argumentOf(d.input ?? d.tool_input)}`,
  "adw.tool_use_post": (d) =>
    `${string(d.tool_name)}  ${toolFailed(d) ? "failed" : "ok"}` +
    (number(d.duration_ms) === null ? "" : `  ${duration(d.duration_ms)}`) +
    (toolFailed(d) ? `  ${string(d.error) || string(d.output) || string(d.tool_output)}` : ""),
  "adw.file_changed": (d) => `${string(d.operation)}  ${string(d.file_path)}  +${number(d.lines_added) ?? 0} -${number(d.lines_removed) ?? 0}`,
  "adw.workflow_phase_transition": (d) => `${string(d.phase_from) || "start"} -> ${string(d.phase_to)}`,
  "adw.stage_transition": (d) => `${string(d.from_stage) || "start"} -> ${string(d.to_stage)}  ${string(d.message)}`,
  "adw.agent_summary_update": (d) =>
    [d.status, number(d.progress_percent) === null ? "" : `${d.progress_percent} %`, d.current_step, d.message].filter((part) => string(part) !== "").join("  "),
  "adw.agent_output_chunk": (d) =>
    `${string(d.agent_role)}${number(d.line_number) === null ? "" : ` line ${d.line_number}`}  ${string(d.content).length} characters  ${string(d.content).slice(0, 160)}`,
  "adw.agent_log": (d) => `${string(d.level)}  ${string(d.event_type)}  ${string(d.message)}`,
  "adw.screenshot_available": (d) => string(d.screenshot_path),
  "adw.spec_created": (d) => `${string(d.spec_type)}  ${string(d.spec_path)}`,
  "connection.welcome": (d) => `${string(d.connection_id)}  ${string(d.server)}  epoch ${string(d.epoch)}`,
  "connection.subscribed": (d) =>
    [
      list(d.streams).map((s) => `${s.to} (head ${s.head})`).join(", "),
      list(d.refused).map((s) => `refused ${s.to}: ${s.code}`).join(", "),
    ].filter(Boolean).join("  "),
  "connection.unsubscribed": (d) => list(d.streams).map((s) => s.to).join(", "),
  "connection.heartbeat": (d) => `${d.active_connections} connections  ${string(d.server_status)}`,
  "connection.error": (d) => `${string(d.code)}  ${string(d.message)}`,
  "connection.replaying": (d) => `${string(d.stream)} from seq ${d.from}`,
  "connection.recovered": (d) =>
    `${string(d.stream)} up to seq ${d.upto}` + (number(d.recovered) === null ? "" : `, ${d.recovered} events`),
  "connection.closing": (d) => `${string(d.reason)}${number(d.reconnect_after_ms) === null ? "" : `, back in ${duration(d.reconnect_after_ms)}`}`,
  "connection.gap": (d) => gapSentence(d),
};

function list(value) {
  return Array.isArray(value) ? value.filter((item) => item !== null && typeof item === "object") : [];
}

/** One line that says what a frame is about. */
export function summarize(frame) {
  const data = frame.data ?? {};
  const special = Object.hasOwn(brief, frame.type) ? brief[frame.type] : null;
  if (special) return oneLine(special(data).replace(/^ +| +$/g, ""));
  for (const key of ["content", "message", "text", "html", "status"]) {
    if (typeof data[key] === "string" && data[key] !== "") return oneLine(data[key]);
  }
  return oneLine(JSON.stringify(data));
}

/** What a `connection.gap` payload means, as a sentence. */
export function gapSentence(data) {
  const stream = string(data.stream) || "?";
  const from = number(data.from_seq);
  const to = number(data.to_seq);
  const range = from !== null && to !== null ? `seq ${from} to ${to}` : to !== null ? `everything up to seq ${to}` : from !== null ? `everything from seq ${from}` : "events";
  const why = {
    expired: "the history no longer keeps them",
    slow_consumer: "this connection read too slowly",
    epoch_changed: "the server began a new history",
  }[data.reason] ?? (string(data.reason) || "no reason given");
  return data.reason === "epoch_changed" && from === null && to === null
    ? `${stream}: earlier events cannot be replayed, ${why}`
    : `${stream}: ${range} cannot be replayed, ${why}`;
}

/** `good`, `bad`, `warn` or `""`: how much attention a frame deserves. What says that something failed is never `good`. */
export function toneOf(frame) {
  const data = frame.data ?? {};
  if (frame.type === "connection.subscribed" && list(data.refused).length > 0) return "bad";
  if (familyOf(frame.type) === "connection") return { "connection.error": "bad", "connection.gap": "warn" }[frame.type] ?? "";
  if (frame.type === "adw.tool_use_post" ? toolFailed(data) : saysFailed(data)) return "bad";
  switch (frame.type) {
    case "adw.agent_log":
    case "adw.system_log":
    case "adw.workflow_log":
      return { ERROR: "bad", CRITICAL: "bad", WARNING: "warn", SUCCESS: "good" }[string(data.level).toUpperCase()] ?? "";
    case "adw.agent_summary_update":
    case "adw.status_update":
      return data.status === "completed" ? "good" : "";
    default:
      return "";
  }
}

/** Milliseconds as a short human duration: `35 ms`, `4.2 s`, `3 m 07 s`, `2 h 05 m`. */
export function duration(ms) {
  if (!Number.isFinite(ms)) return "";
  if (ms < 0) ms = 0;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  const two = (n) => String(n).padStart(2, "0");
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${two(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${two(Math.floor((seconds % 3600) / 60))} m`;
}

/** A short name for what a peer calls itself: the browser of a `User-Agent`, else its first word. */
export function clientName(agent) {
  const browser = /\b(Edg|OPR|Firefox|HeadlessChrome|Chrome|Version)\/(\d+)(?:.*\b(Safari))?/.exec(agent);
  if (!agent.startsWith("Mozilla/") || browser === null) return agent.split(" ", 1)[0];
  const other = /\b(Edg|OPR)\/(\d+)/.exec(agent);
  const [name, version] = other === null ? [browser[1], browser[2]] : [other[1], other[2]];
  return `${{ Edg: "Edge", OPR: "Opera", Version: "Safari" }[name] ?? name} ${version}`;
}

/** US dollars, to a hundredth of a cent: `$0.4666`. */
export function money(usd) {
  return Number.isFinite(usd) ? `$${usd.toFixed(4)}` : "";
}

/** Bytes as `812 B`, `3.4 kB`, `1.2 MB`. */
export function bytes(count) {
  if (!Number.isFinite(count)) return "";
  if (count < 1000) return `${count} B`;
  if (count < 1_000_000) return `${(count / 1000).toFixed(1)} kB`;
  return `${(count / 1_000_000).toFixed(1)} MB`;
}

/** Local wall-clock time of a frame, `HH:MM:SS.mmm`; the text itself when it is not a time. */
export function clock(time) {
  const at = Date.parse(time);
  if (Number.isNaN(at)) return oneLine(time ?? "", 12);
  const date = new Date(at);
  const pad = (n, width) => String(n).padStart(width, "0");
  return `${pad(date.getHours(), 2)}:${pad(date.getMinutes(), 2)}:${pad(date.getSeconds(), 2)}.${pad(date.getMilliseconds(), 3)}`;
}

// ---------------------------------------------------------------------------------------------------- the tail

let arrivals = 0;

/** One row of the tail, made from a decoded frame and the text it came as. */
export function eventEntry(frame, text, epoch = null) {
  const type = frame.type;
  return {
    kind: "event",
    id: ++arrivals,
    epoch,
    seq: Number.isSafeInteger(frame.seq) ? frame.seq : null,
    type,
    family: familyOf(type),
    name: nameOf(type),
    to: string(frame.to),
    time: string(frame.time),
    adw: adwOf(frame),
    own: familyOf(type) === "connection",
    tone: toneOf(frame),
    summary: summarize(frame),
    text,
    gone: false,
  };
}

/** A row that is not an event: a gap, a lost or new connection, a new history. `tone` is `gap`, `warn`, `bad` or `info`. */
export function markEntry(label, summary, tone, time, text = null, adw = null) {
  return { kind: "mark", id: ++arrivals, epoch: null, seq: null, type: label, family: "", name: label, to: "", time, adw, own: false, tone, summary: oneLine(summary, 400), text, gone: false };
}

/** The newest entries, in order of `seq` where they have one; bounded in number and in characters. */
export class Tail {
  #seen = new Set();
  entries = [];
  characters = 0;
  /** Grows when entries were put anywhere but at the end: readers start over. */
  generation = 0;
  /** Entries ever appended at the end. */
  appended = 0;
  /** Entries ever dropped from the front because of the bounds. */
  dropped = 0;
  /** Events ever taken in, per family and per type; for the filter menus. */
  families = new Map();
  types = new Map();
  adws = new Map();
  /** Whether nothing older than the oldest entry can be read any more. */
  complete = false;
  /** The first position that was read on purpose, when it is before the oldest entry; else null. */
  #from = null;
  /** The newest position ever taken in, or null. */
  newest = null;

  constructor({ maxEntries = MAX_ENTRIES, maxCharacters = MAX_CHARACTERS } = {}) {
    this.maxEntries = maxEntries;
    this.maxCharacters = maxCharacters;
  }

  /** Adds an entry; false when this logged event is here already. The bounds hold again after `trim`. */
  push(entry) {
    if (entry.seq !== null) {
      const key = `${entry.epoch}:${entry.seq}`;
      if (this.#seen.has(key)) return false;
      this.#seen.add(key);
      if (this.newest === null || this.newest.epoch !== entry.epoch || this.newest.seq < entry.seq) this.newest = { epoch: entry.epoch, seq: entry.seq };
    }
    if (entry.kind === "event") {
      count(this.families, entry.family);
      count(this.types, entry.type);
      if (entry.adw !== null) count(this.adws, entry.adw);
    }
    this.characters += entry.text?.length ?? 0;
    const at = this.#place(entry);
    if (at === this.entries.length) {
      this.entries.push(entry);
      this.appended += 1;
    } else {
      this.entries.splice(at, 0, entry);
      this.generation += 1;
    }
    return true;
  }

  /** How far back a filter looks: `{seq, time}` of the oldest entry with a number, or null. */
  get reach() {
    const oldest = this.entries.find((entry) => entry.seq !== null);
    return oldest === undefined ? null : { seq: oldest.seq, time: oldest.time };
  }

  /** What lies before this position can still be asked for, in this history; null when there is nothing to ask. */
  before(epoch) {
    const oldest = this.entries.find((entry) => entry.seq !== null);
    if (this.complete || (oldest ?? this.newest)?.epoch !== epoch) return null;
    const before = this.#from ?? (oldest === undefined ? this.newest.seq + 1 : oldest.seq);
    return before > 1 ? before : null;
  }

  /** How many entries are the agents' raw output. */
  get raw() {
    return this.entries.reduce((sum, entry) => sum + (entry.type === RAW ? 1 : 0), 0);
  }

  /**
   * Puts older entries, in their order, before all others; returns how many were new. There is room for them afterwards.
   * `from`: the first position that was asked for; `complete`: nothing before it can be read.
   */
  prepend(older, { from = null, complete = false } = {}) {
    this.#from = from;
    this.complete = complete;
    const fresh = older.filter((entry) => {
      const key = `${entry.epoch}:${entry.seq}`;
      if (entry.seq === null || this.#seen.has(key)) return false;
      this.#seen.add(key);
      return true;
    });
    for (const entry of fresh) {
      count(this.families, entry.family);
      count(this.types, entry.type);
      if (entry.adw !== null) count(this.adws, entry.adw);
      this.characters += entry.text?.length ?? 0;
    }
    this.entries = [...fresh, ...this.entries];
    this.maxEntries = Math.max(this.maxEntries, this.entries.length + 1000);
    this.generation += 1;
    return fresh.length;
  }

  // Replayed events are older than live ones that came before them; everything else goes to the end.
  #place(entry) {
    if (entry.seq === null) return this.entries.length;
    let at = this.entries.length;
    for (let i = this.entries.length - 1; i >= 0; i -= 1) {
      const other = this.entries[i];
      if (other.seq === null) {
        if (other.kind === "mark" && other.tone !== "gap") break;
        continue;
      }
      if (other.epoch !== entry.epoch || other.seq < entry.seq) break;
      at = i;
    }
    return at;
  }

  /** Drops the oldest entries until the bounds hold. */
  trim() {
    let drop = Math.max(0, this.entries.length - this.maxEntries);
    let characters = this.characters;
    for (let i = 0; i < drop; i += 1) characters -= this.entries[i].text?.length ?? 0;
    while (characters > this.maxCharacters && drop < this.entries.length - 1) {
      characters -= this.entries[drop].text?.length ?? 0;
      drop += 1;
    }
    if (drop === 0) return;
    for (const entry of this.entries.splice(0, drop)) {
      entry.gone = true;
      if (entry.seq !== null) this.#seen.delete(`${entry.epoch}:${entry.seq}`);
    }
    this.characters = characters;
    this.dropped += drop;
    this.complete = false;
    this.#from = null;
  }

  /** Forgets all entries (the menus keep what was seen). */
  clear() {
    for (const entry of this.entries) entry.gone = true;
    this.entries = [];
    this.#seen.clear();
    this.characters = 0;
    this.complete = false;
    this.#from = null;
    this.generation += 1;
  }
}

/** Events per second over the last few seconds, counted by when they came. `now` is milliseconds of a monotonic clock. */
export class Rate {
  #buckets = new Map();
  #from = null;

  /** `window`: over how many milliseconds. */
  constructor(window = 5000) {
    this.window = window;
  }

  /** Begins to observe: nothing is known of the time before. */
  start(now) {
    this.#from = now;
    this.#buckets.clear();
  }

  /** One event. */
  add(now) {
    this.#from ??= now;
    const bucket = Math.floor(now / 250);
    this.#buckets.set(bucket, (this.#buckets.get(bucket) ?? 0) + 1);
  }

  /** Events per second; null while less than a second was observed. */
  perSecond(now) {
    if (this.#from === null || now - this.#from < 1000) return null;
    const first = Math.floor((now - this.window) / 250);
    let sum = 0;
    for (const [bucket, events] of this.#buckets) {
      if (bucket <= first) this.#buckets.delete(bucket);
      else sum += events;
    }
    return sum / (Math.min(this.window, now - this.#from) / 1000);
  }
}

function count(map, key) {
  map.set(key, (map.get(key) ?? 0) + 1);
}

/** The filter to begin with: everything but this connection's own housekeeping and the agents' raw output. */
export const NO_FILTER = Object.freeze({ family: "", type: "", adw: "", text: "", own: false, raw: false });

/** Whether any part of the filter is set. */
export function isFiltered(filter) {
  return Boolean(filter.family || filter.type || filter.adw || filter.text);
}

/** The agents' verbatim output: large, and the same story as the other events of a run. */
const RAW = "adw.agent_output_chunk";

// The connection's frames that are news rather than housekeeping.
const NEWS = new Set(["connection.error", "connection.closing", "connection.gap"]);

/**
 * A predicate over entries. `family`, `type` and `adw` compare exactly and "" means any; `text` must occur in the frame
 * (upper and lower case alike); `own` lets this connection's housekeeping through, `raw` the agents' verbatim output.
 * Marks always pass, except those of another ADW: a gap must not be filtered out of sight.
 */
export function matcher(filter) {
  // The needle is looked for in JSON text, where quotes and line breaks are escaped.
  const needle = filter.text ? JSON.stringify(filter.text).slice(1, -1).toLowerCase() : "";
  const housekeeping = filter.own || filter.family === "connection" || familyOf(filter.type) === "connection";
  return (entry) => {
    if (entry.kind === "mark") return !filter.adw || entry.adw === null || entry.adw === filter.adw;
    if (entry.own && !housekeeping && !NEWS.has(entry.type)) return false;
    if (!filter.raw && entry.type === RAW && filter.type !== RAW) return false;
    if (filter.family && entry.family !== filter.family) return false;
    if (filter.type && entry.type !== filter.type) return false;
    if (filter.adw && entry.adw !== filter.adw) return false;
    return !needle || entry.text.toLowerCase().includes(needle);
  };
}

/** The rows to show: the tail through a filter, kept up to date step by step, or a still picture of it while paused. */
export class TailView {
  #matches;
  #generation = -1;
  #consumed = 0;
  #still = null;

  constructor(tail, filter = NO_FILTER) {
    this.tail = tail;
    this.rows = [];
    this.setFilter(filter);
  }

  get paused() {
    return this.#still !== null;
  }

  /** Events taken in since the pause began. */
  get waiting() {
    return this.#still === null ? 0 : this.tail.appended - this.#still.appended;
  }

  setFilter(filter) {
    this.filter = { ...NO_FILTER, ...filter };
    this.#matches = matcher(this.filter);
    this.#generation = -1;
  }

  pause() {
    if (this.#still === null) this.#still = { entries: this.tail.entries.slice(), appended: this.tail.appended };
  }

  resume() {
    this.#still = null;
    this.#generation = -1;
  }

  /** Brings `rows` up to date. Returns how many rows left at the front, how many came, and whether all was rebuilt. */
  sync() {
    const { tail } = this;
    if (this.#still !== null) {
      if (this.#generation === "still") return { removed: 0, added: 0, reset: false };
      this.#generation = "still";
      this.rows = this.#still.entries.filter(this.#matches);
      return { removed: 0, added: this.rows.length, reset: true };
    }
    if (this.#generation !== tail.generation) {
      this.#generation = tail.generation;
      this.#consumed = tail.appended;
      this.rows = tail.entries.filter(this.#matches);
      return { removed: 0, added: this.rows.length, reset: true };
    }
    let removed = 0;
    while (removed < this.rows.length && this.rows[removed].gone) removed += 1;
    if (removed > 0) this.rows.splice(0, removed);
    const fresh = Math.min(tail.appended - this.#consumed, tail.entries.length);
    this.#consumed = tail.appended;
    const before = this.rows.length;
    if (fresh > 0) for (const entry of tail.entries.slice(-fresh)) if (this.#matches(entry)) this.rows.push(entry);
    return { removed, added: this.rows.length - before, reset: false };
  }
}

// ---------------------------------------------------------------------------------------------------- this connection

/** What is known about one connection of ours, from its own `connection.*` frames. */
export function newConnection() {
  return { id: null, epoch: null, server: null, user: null, permissions: [], limits: null, subscriptions: [], active: null };
}

/** The next state after a frame; the same object when the frame says nothing about the connection. */
export function reduceConnection(state, frame) {
  const data = frame.data ?? {};
  switch (frame.type) {
    case "connection.welcome":
      return {
        ...newConnection(),
        id: string(data.connection_id),
        epoch: string(data.epoch),
        server: string(data.server),
        user: string(data.user_id) || null,
        permissions: Array.isArray(data.permissions) ? data.permissions.map(String) : [],
        limits: data.limits ?? null,
      };
    case "connection.subscribed":
      return { ...state, subscriptions: [...new Set([...state.subscriptions, ...list(data.streams).map((s) => string(s.to))])] };
    case "connection.unsubscribed": {
      const left = new Set(list(data.streams).map((s) => string(s.to)));
      return { ...state, subscriptions: state.subscriptions.filter((to) => !left.has(to)) };
    }
    case "connection.heartbeat":
      return { ...state, active: number(data.active_connections) };
    default:
      return state;
  }
}
