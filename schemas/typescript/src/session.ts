/**
 * What a client remembers over all of its connections: which targets it wants, how far it has read each of them, and which of
 * its commands are unanswered. No socket, no clock, no randomness: frames go in, and what follows from them goes to the `Sink`.
 *
 * A position belongs to a root (`adw:x`, `global`, `*`), because the frames of a root come in the order of their numbers. That
 * one number is enough to resume, and everything at or below it is a duplicate. Holes are looked for in each exact stream,
 * since `prev` chains the frames of one stream: a `prev` above the last number seen there names something that never came.
 */

import type { ConnectionWelcomeData, Event, IncomingEvent, RefusedStream } from "./events.js";
import type { Checkpoint, Gap, Subscribed, Target } from "./types.js";

/** Most streams whose last number is kept for finding holes. An observer of a large realm forgets the quietest. */
const MAX_STREAMS = 4096;
/** Most targets in one command. */
const MAX_TARGETS = 256;
/** What the query of an SSE stream has words for. A browser session comes with its cookie. */
const SPEAKABLE = /^(\*|(adw|room|session):[^~])/;

/** The answer to a command: the event that is it, what became of a subscription, or the code of an error of our own. */
export type Answer = IncomingEvent | Subscribed | "disconnected" | "needs_websocket" | "closed" | "failed";

/** Whoever waits for an answer, which comes at most once. */
export type Call = (answer: Answer) => void;

/** What the session needs of its surroundings. */
export interface Sink {
  /** Send this text over the present WebSocket. */
  send(text: string): void;
  /** Hand this to the application: an event by its type or by `*`, a gap, or a refused target. */
  emit(type: string, value: IncomingEvent | Gap | RefusedStream): void;
  /** Something waits: call `flush` when the present changes are complete. */
  later(): void;
  /** Takes a command that names so many new targets from what the server allows, or calls `flush` when it allows it. */
  take(targets: number): boolean;
  /** The server takes no command for so many milliseconds. */
  hold(ms: number): void;
  /** The targets are others than those that the SSE stream was opened for. */
  reopen(): void;
}

interface Reading {
  /** Whether the application asked for it. */
  wanted?: boolean | undefined;
  /** Whether it is subscribed by name so that it resumes: also what comes without asking. Other readings are frames that came
   *  although nobody asked. */
  named?: boolean | undefined;
  /** No longer asked for by name, but it still comes under `*` and has a place of its own there. */
  under?: boolean | undefined;
  /** Last number that was read; unknown until the server has said where the target stands. */
  at?: number | undefined;
  /** Where the application wants it to begin, until the server is asked. */
  wish?: number | undefined;
  /** The command, or the stream, that asked for it on this connection; `ON` when that was answered. */
  asked?: string | number | undefined;
  /** What comes before the answer comes again in the replay, in its order; counted now, it would hide what lies before it. */
  deaf?: boolean | undefined;
  /** Between `replaying` and `recovered`. */
  behind?: boolean | undefined;
  /** What the last heartbeat of this connection said, since it was subscribed or replayed. */
  heard?: number | undefined;
}

interface Pending {
  type: string;
  data: any;
  call: Call;
  /** Whether it went out over the present connection. */
  sent?: boolean;
}

/** A call of `subscribe` that waits for its targets. */
interface Watcher {
  targets: string[];
  refused: RefusedStream[];
  call: Call;
}

const STREAM = 2;
const ON = 1;
const rootOf = (to: string): string => to.split("/", 1)[0] as string;

export type Session = ReturnType<typeof session>;

export function session(sink: Sink, targets: readonly Target[], resume: Checkpoint = { positions: {} }) {
  let { epoch } = resume;
  let live = false;
  /** Whether the connection is an SSE stream, and where that begins. */
  let stream = false;
  let cursor: string | undefined;
  let lastId = 0;
  /** Highest number that was read of this history. */
  let top = 0;
  const readings = new Map<string, Reading>();
  /** Exact stream to its last number, the quietest first. */
  const streams = new Map<string, number>();
  const pending = new Map<string, Pending>();
  const watchers = new Set<Watcher>();
  /** No longer wanted; the server learns of it with the next commands. */
  const leaving = new Set<string>();
  let leavers: Call[] = [];

  const read = (root: string): Reading => {
    let reading = readings.get(root);
    if (!reading) readings.set(root, (reading = {}));
    return reading;
  };
  /** Whose position a frame moves: that of its own root where it is read by itself, else that of the realm. */
  const governing = (to: string): string => (readings.has(rootOf(to)) || !readings.has("*") ? rootOf(to) : "*");
  const want = (root: string): Reading => {
    const reading = read(root);
    reading.wanted = reading.named = true;
    reading.under = false;
    leaving.delete(root);
    return reading;
  };
  /** The roots that are asked for by name, or those of them that pass a test. */
  const named = (test = (reading: Reading): unknown => reading.named) => [...readings].flatMap(([root, reading]) => (reading.named && !leaving.has(root) && test(reading) ? root : []));
  const forgetStreams = (root: string) => {
    for (const stream of streams.keys()) if (root === "*" || rootOf(stream) === root) streams.delete(stream);
  };
  const forget = (root: string) => {
    readings.delete(root);
    forgetStreams(root);
  };

  const missed = (stream: string, gap: Omit<Gap, "stream" | "to">) => sink.emit("gap", { ...gap, stream, to: governing(stream) });
  const hole = (stream: string, last: number, upto: number) => missed(stream, { reason: "hole", from_seq: last + 1, to_seq: upto });

  // Commands

  const answer = (re: string | undefined, answer: Answer) => {
    const command = pending.get(re as string);
    pending.delete(re as string);
    command?.call(answer);
  };

  const post = (command: Pending): string => {
    const id = `${++lastId}`;
    pending.set(id, command);
    return id;
  };

  /** Sends a list in commands of as many targets as one may name, as far as commands are allowed now. */
  const inCommands = (roots: string[], send: (part: string[]) => void) => {
    while (roots[0] && sink.take(roots.length)) send(roots.splice(0, MAX_TARGETS));
  };

  /** The targets that are no longer wanted are gone for the application. */
  const leave = (roots: Iterable<string>): Call => {
    for (const root of roots) {
      leaving.delete(root);
      unsubscribed(root);
    }
    const calls = leaving.size ? [] : leavers;
    if (!leaving.size) leavers = [];
    return (answer) => calls.forEach((call) => call(answer));
  };

  const transmit = (id: string) => {
    const command = pending.get(id) as Pending;
    const { type, data } = command;
    command.sent = true;
    sink.send(JSON.stringify({ type, id, data }));
  };

  /** Sends what waits: what is no longer wanted, what this connection was not asked for, and commands. */
  const flush = () => {
    const reopen = stream && leaving.size;
    if (!live || stream) leave([...leaving])({ refused: [] });
    if (!live) return;
    // Deaf from now on, also where the command has to wait: what comes without asking comes at once.
    const missing = named((reading) => !reading.asked && [(reading.deaf = reading.at !== undefined)]);
    if (stream) {
      // What has no name in its query waits for a WebSocket.
      if (reopen || missing.some((root) => SPEAKABLE.test(root))) sink.reopen();
    } else {
      // First what makes room for others.
      inCommands([...leaving], (roots) => transmit(post({ type: "unsubscribe", data: { streams: roots.map((to) => ({ to })) }, call: leave(roots) })));
      if (!leaving.size) {
        // What was wanted again before the server learned of the opposite.
        leave([])({ refused: [] });
        inCommands(missing, (part) => {
          const id = `${++lastId}`;
          const streams = part.map((to) => {
            const reading = read(to);
            reading.asked = id;
            reading.wish = undefined;
            return { to, since: reading.at };
          });
          sink.send(JSON.stringify({ type: "subscribe", id, data: { epoch, streams } }));
        });
      }
    }
    for (const [id, { sent }] of pending) {
      if (sent) continue;
      if (stream) answer(id, "needs_websocket");
      else if (sink.take(0)) transmit(id);
      else break;
    }
    settle();
  };

  /** Answers calls whose targets are all decided. */
  const settle = () => {
    for (const watcher of watchers) {
      if (watcher.targets.some(undecided)) continue;
      watchers.delete(watcher);
      watcher.call({ refused: watcher.refused });
    }
  };

  const undecided = (root: string) => {
    const reading = readings.get(root);
    return reading?.wanted && reading.asked !== ON;
  };

  /** Something that was asked for does not come. */
  const turnDown = (target: RefusedStream) => {
    const { to } = target;
    for (const { targets, refused } of watchers) if (targets.includes(to)) refused.push(target);
    if (readings.get(to)?.wanted) sink.emit("refused", target);
    forget(to);
  };

  const command = (type: string, data: unknown, call: Call): (() => void) => {
    const id = post({ type, data, call });
    sink.later();
    return () => pending.delete(id);
  };

  /** No longer wants targets. */
  const unsubscribe = (targets: readonly Target[], call: Call): (() => void) => {
    for (const { to } of targets) {
      leaving.add(to);
      const reading = readings.get(to);
      if (reading) reading.wanted = false;
    }
    leavers.push(call);
    sink.later();
    return () => {};
  };

  // Frames

  const welcomed = (welcome: ConnectionWelcomeData) => {
    const { user_id: user, session_id: home } = welcome;
    const other = epoch && epoch !== welcome.epoch;
    live = true;
    epoch = welcome.epoch.trim();
    if (other) {
      // Nothing of what was read says anything about the new history: read it from its beginning.
      streams.clear();
      top = 0;
      for (const [root, reading] of readings) {
        if (!reading.named) readings.delete(root);
        else if (reading.at !== undefined) {
          reading.at = 0;
          missed(root, { reason: "epoch_changed" });
        }
      }
    }
    // What comes without asking is subscribed as well, since only what is subscribed resumes. An observer is no exception: the
    // server keeps these apart from everything else it observes, so their frames have an order of their own.
    for (const root of ["global", user && `user:${user}`, home && `session:${home}`]) {
      if (!root) continue;
      const reading = read(root);
      reading.named = true;
      if (stream) reading.asked = ON;
    }
    if (stream) {
      const [head, ...places] = (cursor ?? "").split(",") as [string, ...string[]];
      // A cursor of another history says nothing about this one.
      for (const [root, reading] of readings) reading.at ??= head.startsWith(epoch) ? +(places.find((place) => place.startsWith(root + "=")) ?? head).replace(/.*[-=]/, "") : 0;
    }
    flush();
  };

  const unlogged = (event: Event) => {
    // Only the members of the `connection` family mean something here.
    const { re, stream: name } = event.data as { re?: string; stream?: string };
    const reading = readings.get(name as string) ?? {};
    const { type } = event;
    if (type === "connection.welcome") welcomed(event.data);
    if (type === "connection.subscribed") {
      for (const { to, head } of event.data.streams) {
        const reading = readings.get(to);
        // It was unsubscribed while the stream was opened.
        if (!reading && stream) sink.reopen();
        // It may have been asked for anew meanwhile, from another place: that is answered later.
        if (reading?.asked !== (re ?? STREAM)) continue;
        // From now on: what still came of an earlier subscription is no beginning that `prev` could go on from.
        if (re && !reading?.deaf) forgetStreams(to);
        reading!.asked = ON;
        reading!.at ??= head;
        reading!.deaf = reading!.heard = undefined;
      }
      event.data.refused.forEach(turnDown);
      settle();
      // Wanted while the stream was opened.
      sink.later();
    }
    // A permission was lost. What was asked here is forgotten already, and may be wanted again.
    if (type === "connection.unsubscribed" && !re) for (const { to } of event.data.streams) unsubscribed(to);
    if (type === "connection.error") {
      const { code, message, retryable, retry_after_ms = 1000, details } = event.data;
      const asked = [...readings.keys()].filter((to) => read(to).asked === (re ?? 0));
      if (code === "rate_limited" || (asked[0] && retryable)) {
        // Which command came too fast is not always said. All that is not answered goes out again: done twice it does the same.
        for (const [, reading] of readings) if (reading.asked !== ON) reading.asked = undefined;
        for (const [id, command] of pending) {
          command.sent = false;
          if (command.type !== "unsubscribe") continue;
          // But for what is wanted again meanwhile.
          pending.delete(id);
          unsubscribe(command.data.streams.filter(({ to }: Target) => !readings.get(to)?.wanted), command.call);
        }
        sink.hold(retry_after_ms);
        return sink.later();
      }
      // On a stream an error names the target that it is about.
      if (!re && details?.["to"]) asked.push(details["to"] as string);
      for (const to of asked) turnDown({ to, code, message });
      settle();
    }
    if (type === "connection.gap" && name!.trim()) {
      const { reason, to_seq = 0 } = event.data;
      const changed = reason === "epoch_changed";
      if (changed) {
        reading.at = 0;
        forgetStreams(name as string);
      } else for (const [stream, last] of streams) if (last < to_seq && (stream === name || governing(stream) === name)) streams.set(stream, to_seq);
      // Of a stream that begins under another epoch the welcome told already.
      if (!(changed && stream)) missed(name as string, { ...event.data, reason: changed || reason === "slow_consumer" ? reason : "expired" });
    }
    if (type === "connection.replaying") {
      reading.behind = true;
      reading.heard = undefined;
    }
    // Of a replay that is asked for anew nothing counts.
    if (type === "connection.recovered" && !reading.deaf) Object.assign(reading, { behind: false, at: Math.max(reading.at ?? 0, +event.data.upto.toFixed()) });
    // How far each target was sent comes in order with the frames, so being behind means that a tail is lost. What the first
    // heartbeat of a target says may be the reach of the log where it was subscribed, above its last event; a number that grew
    // since names an event.
    if (type === "connection.heartbeat") {
      for (const { to, seq } of event.data.positions) {
        const reading = readings.get(to);
        if (!reading || reading.behind || reading.deaf) continue;
        const { heard = seq, at = seq } = reading;
        reading.heard = seq;
        if (heard < seq && at < seq) hole(to, at, (reading.at = seq));
      }
    }
    answer(re, event);
  };

  const unsubscribed = (root: string) => {
    const reading = readings.get(root);
    // What is observed comes under `*` from where it is.
    if (reading && root !== "*" && readings.has("*")) Object.assign(reading, { wanted: false, under: true });
    else forget(root);
    for (const [other, { under }] of readings) if (root === "*" && under) forget(other);
  };

  for (const [root, at] of Object.entries(resume.positions)) top = Math.max(top, (want(root).at = at));
  for (const { to, since } of targets) {
    const reading = want(to);
    reading.at ??= since;
  }

  return {
    wanted: () => named(({ wanted }) => wanted),
    command,
    unsubscribe,
    flush,
    /** The commands that are not answered. */
    pending: pending as ReadonlyMap<string, unknown>,

    /** How far everything wanted was read. */
    checkpoint(): Checkpoint {
      return JSON.parse(JSON.stringify({ epoch, positions: Object.fromEntries(named().map((root) => [root, read(root).at])) }));
    },

    /** Wants targets, with the next commands. Returns the function that gives up the call. */
    subscribe(wishes: readonly Target[], call: Call): () => void {
      const watcher: Watcher = { targets: wishes.map(({ to }) => to), refused: [], call };
      watchers.add(watcher);
      for (const { to, since } of wishes) {
        const reading = want(to);
        if (since === undefined) continue;
        // The application asks to read from here: what it has behind it is no duplicate. Of several wishes the lowest counts.
        forgetStreams(to);
        reading.at = reading.wish = Math.min(since, reading.wish ?? since);
        reading.asked = undefined;
      }
      sink.later();
      return () => watchers.delete(watcher);
    },

    /** An SSE stream is about to be the connection: the query to open it with. */
    query(): string {
      const list: string[] = [];
      // One position for all, and those that differ: the form of a cursor is rule SSE-08. Of a target that has no position yet,
      // from now on means: from the last number that is known of any.
      let place = `${epoch}-${top}`;
      cursor = undefined;
      for (const root of named()) {
        const reading = read(root);
        // Without an epoch there is no cursor. The stream is opened once more as soon as it has named one.
        reading.deaf = reading.at !== undefined && !epoch;
        if (epoch && (reading.at ??= top) !== top) place += `,${root}=${reading.at}`;
        if (!SPEAKABLE.test(root)) continue;
        list.push(root);
        if (!reading.deaf) reading.asked = STREAM;
      }
      const query = new URLSearchParams(list[0] && { to: `${list}` });
      if (epoch) query.set("cursor", place);
      return `${query}`;
    },

    /** The SSE stream says where it begins. */
    begin(id: string): void {
      cursor ??= id;
    },

    /** The connection is gone. Commands that were sent are answered, with `end` all calls; targets are asked for again. */
    cut(end?: "closed" | "failed"): void {
      live = false;
      flush();
      for (const [, reading] of readings) reading.asked = reading.deaf = reading.behind = reading.heard = undefined;
      for (const [id, { sent, type }] of pending) if (sent || end) answer(id, end ?? (type === "unsubscribe" ? { refused: [] } : "disconnected"));
      if (end) for (const watcher of watchers) watchers.delete(watcher), watcher.call(end);
    },

    /**
     * Takes one frame of the server. `sse`: whether it came over a stream, and not over a WebSocket. Throws where members are
     * missing: methods that only a string or a number has are called for that.
     */
    take(frame: IncomingEvent, sse: boolean): void {
      stream = sse;
      const { to, seq, prev = 0 } = frame as { to: string; seq?: number; prev?: number };
      if (seq) {
        const reading = read(governing(to));
        if (reading.deaf || seq <= (reading.at ?? 0)) return;
        reading.at = seq;
        top = Math.max(top, seq);
        const last = streams.get(to) ?? prev;
        streams.delete(to);
        streams.set(to, seq);
        if (streams.size > MAX_STREAMS) streams.delete(streams.keys().next().value as string);
        if (last < prev) hole(to, last, prev);
      } else unlogged(frame as Event);
      sink.emit(frame.type, frame);
      if (!frame.type.startsWith("connection.")) sink.emit("*", frame);
    },
  };
}
