// The story of each ADW run, told from its events: phases, tool calls joined to their results, texts, file changes,
// logs, screenshots. Without a browser and without a clock, like model.js. Events may arrive in any order and twice
// (live first, the older part of the run later), so a run is the same whatever the order was.

import { adwOf, argumentOf, extrasOf, saysFailed, toolFailed } from "./model.js";

/** Runs kept; the one that was quiet longest is forgotten first. */
export const MAX_RUNS = 64;
/** Items kept per run, newest. */
export const MAX_ITEMS = 5000;
/** Characters kept of any one text. The full text is in the event itself. */
export const MAX_TEXT = 20_000;

/** A model needs longer than this, in milliseconds, to go on after a result: what came faster was read from a file. */
export const SHORTEST_TURN = 100;

/** The phases every complete workflow goes through, in order. */
export const PHASES = ["plan", "build", "test", "review", "document"];

const string = (value) => (typeof value === "string" ? value : "");
const count = (value) => (Number.isSafeInteger(value) && value > 0 ? value : 0);

/** A text cut to MAX_TEXT, with the number of characters that were left out. */
export function clip(text, limit = MAX_TEXT) {
  const whole = string(text);
  if (whole.length <= limit) return { text: whole, omitted: 0 };
  const cut = whole.charCodeAt(limit - 1);
  const end = cut >= 0xd800 && cut <= 0xdbff ? limit - 1 : limit;
  return { text: whole.slice(0, end), omitted: whole.length - end };
}

/** All runs, by ADW id. */
export class Runs {
  #runs = new Map();

  constructor({ maxRuns = MAX_RUNS, maxItems = MAX_ITEMS } = {}) {
    this.maxRuns = maxRuns;
    this.maxItems = maxItems;
    this.version = 0;
  }

  /** The run of an ADW, or undefined when nothing was seen of it. */
  find(adw) {
    return this.#runs.get(adw);
  }

  /** Runs, the most recently active first. */
  list() {
    return [...this.#runs.values()].sort((a, b) => b.lastAt - a.lastAt || (a.adw < b.adw ? -1 : 1));
  }

  /** Takes in one frame of any kind; returns the run it changed, or null. */
  ingest(frame) {
    const adw = adwOf(frame);
    if (adw === null) return null;
    let run = this.#runs.get(adw);
    if (run === undefined) {
      run = new Run(adw, this.maxItems);
      this.#runs.set(adw, run);
      if (this.#runs.size > this.maxRuns) this.#forgetQuietest(adw);
    }
    if (!run.ingest(frame)) return null;
    this.version += 1;
    return run;
  }

  /** Starts over: the server began a new history, in which every `seq` means something else. */
  clear() {
    this.#runs.clear();
    this.version += 1;
  }

  #forgetQuietest(except) {
    let quietest = null;
    for (const run of this.#runs.values()) if (run.adw !== except && (quietest === null || run.lastAt < quietest.lastAt)) quietest = run;
    if (quietest !== null) this.#runs.delete(quietest.adw);
  }
}

let items = 0;

/** One run. Items stand in order of `seq`; every change of an item grows its `version`. */
export class Run {
  #seen = new Set();
  #calls = new Map();
  #root = null;
  #stateAt = -Infinity;

  constructor(adw, maxItems = MAX_ITEMS) {
    this.adw = adw;
    this.maxItems = maxItems;
    this.version = 0;
    this.items = [];
    this.firstAt = Infinity;
    this.lastAt = -Infinity;
    this.status = "";
    this.progress = null;
    this.step = "";
    this.message = "";
    this.workflow = "";
    this.events = 0;
    this.rawCharacters = 0;
    this.trimmed = 0;
  }

  /** Whether the run's first event is here: its stream's chain begins with `prev` 0. */
  get fromStart() {
    return this.trimmed === 0 && this.#root === 0;
  }

  /** Takes in a frame of this ADW; false when it was here already. */
  ingest(frame) {
    const seq = Number.isSafeInteger(frame.seq) ? frame.seq : null;
    if (seq !== null) {
      if (this.#seen.has(seq)) return false;
      this.#seen.add(seq);
      if (frame.to === `adw:${this.adw}` && Number.isSafeInteger(frame.prev) && (this.#root === null || frame.prev < this.#root)) this.#root = frame.prev;
    }
    const at = Date.parse(frame.time);
    if (!Number.isNaN(at)) {
      this.firstAt = Math.min(this.firstAt, at);
      this.lastAt = Math.max(this.lastAt, at);
    }
    this.events += 1;
    this.version += 1;
    this.#take(frame.type, frame.data ?? {}, { seq, at: Number.isNaN(at) ? this.lastAt : at, frame });
    return true;
  }

  #take(type, data, where) {
    switch (type) {
      case "adw.workflow_phase_transition":
        if (string(data.workflow_name)) this.workflow = data.workflow_name;
        this.#insert({ kind: "phase", name: string(data.phase_to) || "?", from: string(data.phase_from) }, where, data);
        break;
      case "adw.stage_transition":
        if (string(data.workflow_name)) this.workflow = data.workflow_name;
        this.#insert({ kind: "phase", name: string(data.to_stage) || "?", from: string(data.from_stage) }, where, data);
        break;
      case "adw.agent_summary_update":
      case "adw.status_update":
        this.#summary(data, where);
        break;
      case "adw.tool_use_pre":
        this.#before(data, where);
        break;
      case "adw.tool_use_post":
        this.#after(data, where);
        break;
      case "adw.file_changed":
        this.#insert(
          { kind: "file", path: string(data.file_path), operation: string(data.operation), diff: clip(data.diff), added: count(data.lines_added), removed: count(data.lines_removed), note: string(data.summary) },
          where,
          data,
        );
        break;
      case "adw.text_block":
        this.#insert({ kind: "text", content: clip(data.content) }, where, data);
        break;
      case "adw.chat_stream":
        this.#insert({ kind: "text", content: clip(data.content ?? data.chunk) }, where, data);
        break;
      case "adw.thinking_block":
        this.#insert({ kind: "thinking", content: clip(data.content), took: Number.isFinite(data.duration_ms) ? data.duration_ms : null }, where, data);
        break;
      case "adw.summary_update":
        this.#insert({ kind: "summary", content: clip(data.content), about: string(data.related_file) || string(data.summary_type), failed: saysFailed(data) }, where, data);
        break;
      case "adw.agent_log":
      case "adw.workflow_log":
      case "adw.system_log": {
        const outcome = type === "adw.agent_log" && data.event_type === "result" ? this.#outcome(data, where) : null;
        const level = string(data.level).toUpperCase() || "INFO";
        this.#insert({ kind: "log", level: saysFailed(data) ? "ERROR" : level, what: string(data.event_type), content: clip(data.message), outcome }, where, data);
        break;
      }
      case "adw.screenshot_available":
        this.#insert({ kind: "shot", path: string(data.screenshot_path), about: string(data.screenshot_type) }, where, data);
        break;
      case "adw.spec_created":
        this.#insert({ kind: "spec", path: string(data.spec_path), about: string(data.spec_type) }, where, data);
        break;
      case "adw.agent_output_chunk":
        this.rawCharacters += string(data.content).length;
        break;
      default:
        break;
    }
  }

  // How an agent ended, what it cost and how long it worked, as it says itself.
  #outcome(data, { seq, at }) {
    const extras = extrasOf(data);
    const amount = (value) => (Number.isFinite(value) && value >= 0 ? value : null);
    return {
      seq, at, role: string(data.agent_role), failed: saysFailed(data) || string(data.level).toUpperCase() === "ERROR",
      took: amount(extras.duration_ms), cost: amount(extras.total_cost_usd), api: amount(extras.duration_api_ms),
    };  }

  // The newest summary wins, also when an older one is replayed after it. One that names an agent says how that agent ended,
  // which is not the end of the run.
  #summary(data, { at }) {
    if (at < this.#stateAt) return;
    this.#stateAt = at;
    const nested = data.summary !== null && typeof data.summary === "object" ? data.summary : data;
    const ofAgent = string(data.metadata?.agent_role) !== "" && OVER.has(nested.status);
    if (string(nested.status) && !ofAgent) this.status = nested.status;
    if (Number.isFinite(nested.progress_percent)) this.progress = nested.progress_percent;
    this.step = string(nested.current_step) || this.step;
    this.message = string(nested.message);
    this.workflow = string(nested.workflow_name) || this.workflow;
  }

  #before(data, where) {
    const id = string(data.tool_use_id);
    const call = this.#calls.get(id) ?? this.#newCall(id, data, where);
    call.input = data.input ?? data.tool_input ?? null;
    call.argument = argumentOf(call.input);
    call.tool = string(data.tool_name) || call.tool;
    call.startedAt = where.at;
    this.#mark(call, where, data);
    // A result that came first put the call where the result stood.
    if (call.result !== null && where.seq !== null) this.#move(call, where);
  }

  #after(data, where) {
    const id = string(data.tool_use_id);
    const call = this.#calls.get(id) ?? this.#newCall(id, data, where);
    const output = data.output ?? data.tool_output;
    call.result = toolFailed(data) ? "failed" : "ok";
    call.output = clip(typeof output === "string" || output === undefined || output === null ? output : JSON.stringify(output, null, 2));
    call.error = clip(data.error);
    call.endedAt = where.at;
    call.took = Number.isFinite(data.duration_ms) ? data.duration_ms : null;
    call.resultSeq = where.seq;
    if (!call.tool) call.tool = string(data.tool_name);
    call.version += 1;
  }

  #newCall(id, data, where) {
    const call = this.#insert(
      { kind: "tool", call: id, tool: string(data.tool_name), input: null, argument: "", result: null, output: clip(""), error: clip(""), startedAt: null, endedAt: null, took: null, resultSeq: null },
      where,
      data,
    );
    // Without an id a call can be joined to nothing.
    if (id !== "") this.#calls.set(id, call);
    return call;
  }

  #mark(item, { seq, at, frame }, data) {
    item.seq = seq;
    item.at = at;
    item.time = frame.time;
    item.role = string(data.agent_role) || string(data.metadata?.agent_role) || item.role;
    item.parent = string(data.parent_tool_use_id) || item.parent;
    item.version += 1;
  }

  #insert(fields, where, data) {
    const item = { id: ++items, version: 0, role: "", parent: "", ...fields };
    this.#mark(item, where, data);
    this.items.splice(this.#place(where.seq), 0, item);
    if (this.items.length > this.maxItems) {
      for (const old of this.items.splice(0, this.items.length - this.maxItems)) {
        this.trimmed += 1;
        if (old.kind === "tool") this.#calls.delete(old.call);
      }
    }
    return item;
  }

  #move(item, where) {
    this.items.splice(this.items.indexOf(item), 1);
    this.items.splice(this.#place(where.seq), 0, item);
  }

  #place(seq) {
    let at = this.items.length;
    if (seq === null) return at;
    while (at > 0 && this.items[at - 1].seq !== null && this.items[at - 1].seq > seq) at -= 1;
    return at;
  }
}

/** `running`, `ok`, `failed`, or `unanswered`: the run ended, or went into another phase, before a result came. */
export function callState(call, over) {
  return call.result ?? (over ? "unanswered" : "running");
}

/**
 * How long a call took in milliseconds: what its result says, else the time between the two events where these have the times
 * of what happened (`lived`); null while unknown.
 */
export function callDuration(call, lived = true) {
  if (call.took !== null) return call.took;
  if (!lived || call.startedAt === null || call.endedAt === null) return null;
  return Math.max(0, call.endedAt - call.startedAt);
}

const OVER = new Set(["completed", "failed", "error", "cancelled"]);

/** Whether the run said that it is over, well or badly. */
export function isOver(run) {
  return OVER.has(run.status);
}

/** What results cost in US dollars; null when none says. A session says what it cost so far, so its last result counts. */
export function costOf(results) {
  const sessions = new Map();
  for (const { role, cost, api } of results) {
    if (cost === null) continue;
    const known = sessions.get(role) ?? [];
    const last = known.at(-1);
    if (last !== undefined && cost >= last.cost && (api ?? 0) >= (last.api ?? 0)) known[known.length - 1] = { cost, api };
    else sessions.set(role, [...known, { cost, api }]);
  }
  const costs = [...sessions.values()].flat().map(({ cost }) => Math.round(cost * 10_000));
  return costs.length === 0 ? null : costs.reduce((sum, cost) => sum + cost, 0) / 10_000;
}

/** How long the agents worked by their own account, in milliseconds; null when no result says. */
function workOf(results) {
  const stated = results.filter(({ took }) => took !== null);
  return stated.length === 0 ? null : stated.reduce((sum, { took }) => sum + took, 0);
}

/**
 * Whether the events of a phase have the times at which things happened, not those at which a file was read: `stated` is how
 * long the agents worked by their own account, which no span can be far below. Else the pauses decide that a model needs to go
 * on after a result; where there are none, only a span of more than a second is taken for one of the work.
 */
export function isLived(items, stated = null) {
  const times = items.flatMap(({ at, endedAt }) => [at, endedAt ?? at]).filter(Number.isFinite);
  const span = times.length === 0 ? 0 : times.reduce((a, b) => Math.max(a, b)) - times.reduce((a, b) => Math.min(a, b));
  if (stated !== null && span < stated / 2) return false;
  const answered = new Map();
  const turns = [];
  const happened = items.flatMap((item) => (item.kind === "tool" && item.endedAt !== null ? [[item.startedAt, item, false], [item.endedAt, item, true]] : [[item.at, item, false]]));
  // What has the same time stays in the order of the story.
  for (const [at, item, ends] of happened.filter(([at]) => at !== null).sort((a, b) => a[0] - b[0])) {
    const lane = `${item.role}/${item.parent}`;
    if (ends) answered.set(lane, at);
    else if (answered.has(lane) && (item.kind === "tool" || item.kind === "text" || item.kind === "thinking")) {
      turns.push(at - answered.get(lane));
      answered.delete(lane);
    }
  }
  if (turns.length === 0) return span >= 1000;
  const short = turns.filter((turn) => turn < SHORTEST_TURN).length;
  return turns[0] >= SHORTEST_TURN && short * 20 <= turns.length;
}

/**
 * The run cut into its phases: `[{name, startAt, endAt, lived, took, cost, state, items, calls, failed, running, files, added,
 * removed}]`. An item belongs to the phase that its agent began, else to the phase before it; what came before the first phase,
 * of no agent that began one, stands under the name "". Phases may overlap.
 *
 * `state` is `active` for the last phase, and for earlier ones that were heard of after the last began, until the run is over or
 * the agents said how they ended; then `failed` when the last result failed, or for the last phase of a failed run; else `done`.
 * `lived` says whether the times between are those of the work; `took` is how long the agents worked by their own account, else
 * the span if it was lived, else null; `cost` is in US dollars or null.
 */
export function sections(run) {
  const over = isOver(run);
  const cut = [];
  const open = (item) => {
    const phase = item.kind === "phase";
    const section = {
      id: phase ? item.id : 0, name: phase ? item.name : "", role: phase ? item.role : "", startAt: item.at, endAt: item.at, lived: false, took: null, cost: null, state: "done", beside: false,
      items: [], results: [], ended: false, calls: 0, failed: 0, running: 0, files: 0, added: 0, removed: 0,
    };
    cut.push(section);
    return section;
  };
  // An agent's first words may come just before the phase that it begins.
  const opened = new Map(run.items.filter((item) => item.kind === "phase").map((item) => [item, null]));
  const byRole = new Map();
  for (const item of opened.keys()) {
    const section = open(item);
    opened.set(item, section);
    if (item.role !== "" && !byRole.has(item.role)) byRole.set(item.role, section);
  }
  let before = null;
  let current = null;
  for (const item of run.items) {
    if (item.kind === "phase") {
      // A phase that nobody in particular works on lasts until the next begins.
      if (current !== null && current.role === "") current.endAt = Math.max(current.endAt, item.at);
      current = opened.get(item);
      for (const section of cut) section.beside = false;
      if (item.role !== "") byRole.set(item.role, current);
      continue;
    }
    const section = byRole.get(item.role) ?? current ?? (before ??= open(item));
    section.items.push(item);
    section.startAt = Math.min(section.startAt, item.at);
    section.endAt = Math.max(section.endAt, item.at, item.endedAt ?? -Infinity, item.kind === "tool" && item.took !== null && item.startedAt !== null ? item.startedAt + item.took : -Infinity);
    // Heard of while a later phase was under way: this one goes on beside it.
    section.beside = section !== current;
    // A result ends its agent's work until the agent does something again; summaries and files found later are not its doing.
    if (item.kind === "log" && item.outcome !== null) {
      section.results.push(item.outcome);
      section.ended = true;
    }
    if (item.kind === "tool" || item.kind === "text" || item.kind === "thinking") section.ended = false;
    if (item.kind === "file") {
      section.files += 1;
      section.added += item.added;
      section.removed += item.removed;
    }
  }
  if (before !== null) cut.unshift(cut.pop());
  const badly = (section) => section.results.at(-1)?.failed === true;
  cut.forEach((section, index) => {
    const last = index === cut.length - 1;
    const ended = over || section.ended || !(last || section.beside);
    const byRun = last && over && run.status !== "completed" && !cut.some(badly);
    section.state = !ended ? "active" : badly(section) || byRun ? "failed" : "done";
    const stated = workOf(section.results);
    section.lived = isLived(section.items, stated);
    section.took = stated ?? (section.lived ? section.endAt - section.startAt : null);
    section.cost = costOf(section.results);
    for (const item of section.items) {
      if (item.kind !== "tool") continue;
      item.state = callState(item, ended);
      section.calls += 1;
      if (item.state === "failed") section.failed += 1;
      if (item.state === "running") section.running += 1;
    }
  });
  return cut;
}

/**
 * Where the run stands, in agreement with its phases: `{status, tone, failed, took, cost, untimed, lived}`. The status is the run's own
 * word where it said that it is over; else `completed` or `failed` once the agents of the last usual phase have ended, else what it
 * said last. A run with a failed phase is never of the tone `good`. `failed` counts failed phases; `took` and `cost` are the sums over
 * the phases, null when unknown; `untimed` counts the phases that `took` leaves out.
 */
export function standing(run, cut = sections(run)) {
  const failed = cut.filter((section) => section.state === "failed").length;
  const last = cut.at(-1);
  const active = cut.some((section) => section.state === "active");
  let { status } = run;
  if (!isOver(run) && last !== undefined && !active) {
    const lastUsual = cut.some((section) => section.name === PHASES.at(-1));
    if (last.state === "failed") status = "failed";
    else if (lastUsual && last.results.length > 0) status = "completed";
  }
  const sum = (values) => (values.length === 0 ? null : values.reduce((total, value) => total + value, 0));
  const timed = cut.filter((section) => section.took !== null);
  const worked = cut.filter((section) => section.name !== "" || section.calls > 0 || section.results.length > 0);
  const tones = { completed: failed > 0 ? "warn" : "good", failed: "bad", error: "bad", in_progress: "busy", started: "busy" };
  const costs = cut.map((section) => section.cost).filter((cost) => cost !== null);
  return {
    status, failed, tone: Object.hasOwn(tones, status) ? tones[status] : "", took: sum(timed.map((section) => section.took)), untimed: worked.filter((section) => section.took === null).length,
    cost: costs.length === 0 ? null : Math.round(sum(costs) * 10_000) / 10_000, lived: worked.length > 0 && worked.every((section) => section.lived),
  };
}

/** The phase strip: the five usual phases and any other that was seen, each `pending`, `active`, `done` or `failed`. */
export function strip(run, cut = sections(run)) {
  const seen = new Map();
  for (const section of cut) {
    if (section.name === "") continue;
    const known = seen.get(section.name);
    const { took } = section;
    if (known === undefined) seen.set(section.name, { name: section.name, state: section.state, took, section: section.id });
    else Object.assign(known, { state: section.state, took: known.took === null || took === null ? (known.took ?? took) : known.took + took, section: section.id });
  }
  const usual = [...seen.keys()].some((name) => PHASES.includes(name)) || seen.size === 0;
  const rest = [...seen.keys()].filter((name) => !usual || !PHASES.includes(name));
  return [...(usual ? PHASES : []), ...rest].map((name) => seen.get(name) ?? { name, state: "pending", took: null, section: null });
}

/** The screenshot's file name as the screenshots address takes it: the last part of its path. */
export function screenshotName(path) {
  return string(path).split("/").pop();
}
