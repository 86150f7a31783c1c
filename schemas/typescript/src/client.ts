/**
 * The shell around the session: it opens links, moves frames, keeps time, and answers the application. What it decides about
 * targets, positions and repetitions is in session.ts, and when to come back in reconnect.ts.
 */

import type { ConnectionClosingData, ConnectionWelcomeData, Event, IncomingEvent, RefusedStream } from "./events.js";
import type { Link, Listener, WebSocketClass } from "./link.js";
import { pacing } from "./pace.js";
import { reconnecting, type Backoff, type Ended } from "./reconnect.js";
import { openWebSocket } from "./websocket.js";
import { session, type Answer, type Call, type Sink } from "./session.js";
import { openStream } from "./sse.js";
import { EventwireError, type Checkpoint, type EventOf, type Gap, type State, type Subscribed, type Target, type Transport } from "./types.js";

/**
 * A token, or where to get one. While it cannot be got (the promise is rejected) the client tries again as if the server could
 * not be reached. `undefined`: the person is not known any more; the client connects without, and is `failed` with 401 where the
 * server wants one.
 */
export type TokenSource = string | ((signal: AbortSignal) => Promise<string | undefined> | string | undefined);

export interface Options {
  /** Targets to receive from the start, as `subscribe` takes them. Where `resume` has a position of a target, that counts. */
  targets?: readonly (string | Target)[];
  /** A token for a server that wants one; a function is asked again before the token expires and when it was refused. */
  token?: TokenSource;
  /** In place of a token: gets a single-use ticket from your back end (`POST /v1/tickets`), once for each connection. */
  ticket?: (signal: AbortSignal) => Promise<string> | string;
  /** Which transports, the preferred one first. `["websocket", "sse"]` unless set. */
  transports?: readonly Transport[];
  /** Go on where another client stopped; see `checkpoint`. */
  resume?: Checkpoint;
  /** When to connect again. */
  backoff?: Backoff;
  /** Most commands of `send` that wait, for a connection or their answer; one more is refused with `queue_full`. 32 unless set. */
  queueLimit?: number;
  /**
   * Milliseconds for a connection to be made, for a sign of life after a ping, and beyond the heartbeat interval of the server
   * where there are no pings. 10,000 unless set.
   */
  timeout?: number;
  /** Milliseconds from an answer to the next ping. 15,000 unless set. None are sent while the page is hidden, or over SSE. */
  pingInterval?: number;
  /** Milliseconds on SSE before a WebSocket is tried again. 60,000 unless set. */
  upgradeDelay?: number;
  /** Whether SSE carries cookies to other origins: `include`. `same-origin` unless set. */
  credentials?: RequestCredentials;
  /** Closes the client. */
  signal?: AbortSignal;
  // Others than the global ones. Time and chance have no options: fake timers replace the global ones, `performance` among them.
  WebSocket?: WebSocketClass;
  fetch?: typeof globalThis.fetch;
}

/** What can be listened for beside the types of events. */
export interface Signals {
  /** Every event of the application: all but the `connection` family, in order, each once. */
  "*": IncomingEvent;
  state: State;
  /** See `Client.latency`; also while a ping takes long. */
  latency: number;
  gap: Gap;
  /** A target that was wanted is refused and not asked for again. */
  refused: RefusedStream;
  /** Every frame as it came, before anything is done about it; without `event` when it cannot be read. */
  frame: { text: string; event: IncomingEvent | undefined };
}

export type Handler<K extends keyof Signals | Event["type"]> = (value: K extends keyof Signals ? Signals[K] : K extends Event["type"] ? EventOf<K> : never) => void;

export interface Abortable {
  signal?: AbortSignal;
}

/** A connection that keeps itself alive. Made by `createClient` or `connect`. */
export interface Client {
  /** Where the connection stands. */
  readonly state: State;
  /**
   * Milliseconds that the last ping took, or that the present one takes already where that is more; over SSE, those
   * from the request to the welcome.
   */
  readonly latency: number | undefined;
  /** What is subscribed, or will be with the next connection. */
  readonly targets: string[];
  /** Connects, now, unless it is connected or about to be. Also after `close`, and when the client is `failed`. */
  start(): void;
  /** Ends the connection. What was asked and is not answered is rejected. `start` goes on from where this stops. */
  close(): void;
  /**
   * Receives targets, now and after every reconnect. Without a connection it is answered by the next one. Rejects when every
   * target is refused; otherwise the answer says what was refused. To read `*` from a position, name `global` beside it: what
   * everybody receives is read by itself.
   */
  subscribe(targets: string | Target | readonly (string | Target)[], options?: Abortable): Promise<Subscribed>;
  /** No longer receives targets, now and after every reconnect. */
  unsubscribe(targets: string | readonly string[], options?: Abortable): Promise<void>;
  /**
   * Sends a command and resolves with the event that answers it. Without a connection it waits in a queue of `queueLimit`. When
   * the connection is lost before the answer came, it is rejected with `disconnected` and never sent again by itself.
   */
  send(type: string, data?: unknown, options?: Abortable): Promise<IncomingEvent>;
  /** Sends text as it is, for consoles and tests. False when there is no WebSocket. */
  sendText(text: string): boolean;
  /** Goes on with another token, now and after every reconnect. When it is refused, the old one stays. */
  authenticate(token: string, options?: Abortable): Promise<void>;
  /**
   * Goes over to another transport, at once; nothing is lost and nothing comes twice. To a WebSocket the stream goes on until the
   * socket is there, and stays if it does not come. To `sse` while on SSE: opens the stream anew.
   */
  switchTo(transport: Transport): void;
  /** How far everything was read, as far as handlers and iterators were given it. */
  checkpoint(): Checkpoint;
  /** Calls `handler` for every event of a type, for all (`*`), or for a signal. Returns the function that ends it. */
  on<K extends keyof Signals | Event["type"]>(type: K, handler: Handler<K>, options?: Abortable): () => void;
}

/** One connection, or the attempt to make one. */
interface Line extends Listener {
  readonly transport: Transport;
  link?: Link;
  welcomed?: boolean;
  over?: boolean;
  /** When the server was heard last. */
  last: number;
  /** Whether the connection is open, welcomed or not. */
  open?: boolean;
}

/** Elapsed time. Never `Date.now`: a clock that is set would hide a dead connection, or end a healthy one. */
const clock = () => performance.now();

/** Why a connection was given up on which nothing came. */
const SILENT = "nothing arrives on the open connection";

const named = (targets: string | Target | readonly (string | Target)[]): Target[] => [targets].flat().map((target) => (typeof target === "string" ? { to: target } : target));

/** A client of the server at `url`: `https://host`, `wss://host/v1/ws`, or in a browser a path. It does nothing before `start`. */
export function createClient(url: string | URL, options: Options = {}): Client {
  const {
    token,
    ticket,
    transports = ["websocket", "sse"],
    queueLimit = 32,
    timeout = 10_000,
    pingInterval = 15_000,
    upgradeDelay = 60_000,
    credentials,
    signal: outer,
    WebSocket = globalThis.WebSocket,
    fetch = globalThis.fetch,
  } = options;
  const base = `${new URL(url, globalThis.location?.href)}`.replace(/^ws/, "http").replace(/(\/v1\/\w+)?\/?([?#].*)?$/, "/v1/");
  const renewable = typeof token === "function" || !!ticket;
  const reconnect = reconnecting(options.backoff ?? {});
  const pace = pacing();
  const handlers = new Map<string, Set<(value: any) => void>>();
  const timers: Record<string, any> = {};
  let state: State = { phase: "idle" };
  let latency: number | undefined;
  let line: Line | undefined;
  /** A WebSocket that is to take the place of an SSE stream. */
  let rival: Line | undefined;
  /** The transports that the present attempt has not tried. */
  let untried: Transport[];
  let first = transports[0] as Transport;
  let bearer: string | undefined;
  /** What the server said before the end. */
  let farewell: ConnectionClosingData | undefined;
  let control = new AbortController();
  /** How the last attempt over the preferred transport ended. */
  let fallback: Ended | undefined;
  /** When the ping went out that is not answered, and when the next one is due. */
  let asked = 0;
  let due = 0;
  /** When `beat` ran, and how far the wall clock was ahead then. */
  let beaten = 0;
  let ahead = 0;
  let heartbeat: number;

  const on: Client["on"] = (type, handler, { signal } = {}) => {
    const all = handlers.get(type) ?? new Set();
    const off = () => all.delete(handler);
    handlers.set(type, all);
    if (!signal?.aborted) all.add(handler);
    signal?.addEventListener("abort", off);
    return off;
  };

  const emit = (type: string, value: unknown) => {
    for (const handler of handlers.get(type) ?? []) {
      try {
        handler(value);
      } catch (error) {
        // A handler that throws is the application's affair; the other handlers and the connection go on.
        console.error(error);
      }
    }
  };

  /** One timer of each name; without `run` none. A longer time than 23 days would overflow. */
  const wait = (name: string, ms = 0, run?: false | (() => void)) => {
    clearTimeout(timers[name]);
    if (run) timers[name] = setTimeout(run, Math.min(ms, 2e9));
  };

  // What is not answered yet has taken so long at least.
  const slow = () => (asked ? Math.max(clock() - asked, latency ?? 0) : latency);

  const enter = (next: State) => emit("state", (state = next));

  const call = <T>(begin: (call: Call) => () => void, { signal }: Abortable = {}): Promise<T> =>
    new Promise((resolve, reject) => {
      const control = new AbortController();
      let abandon = () => {};
      signal?.throwIfAborted();
      signal?.addEventListener(
        "abort",
        () => {
          abandon();
          reject(signal.reason);
        },
        control,
      );
      abandon = begin((answer: Answer) => {
        control.abort();
        const event = answer as EventOf<"connection.error">;
        if (typeof answer === "string") reject(new EventwireError(answer));
        else if (event.type === "connection.error") reject(new EventwireError(event.data.code, event.data.message, event.data));
        else resolve(answer as T);
      });
      if (state.phase === "failed" || state.phase === "closed") core.cut(state.phase);
    });

  const send: Client["send"] = async (type, data, options) => {
    if (core.pending.size >= queueLimit) throw new EventwireError("queue_full");
    return call((answer) => core.command(type, data, answer), options);
  };

  const sendText = (text: string) => {
    return !!(line?.welcomed && line.link?.send?.(text));
  };

  // Connections

  const drop = (line: Line) => {
    line.over = true;
    wait(line.transport);
    line.link?.close();
  };

  /** Everything ends; without a state only so that it can begin anew. */
  const stop = (next?: State) => {
    for (const each of [line, rival]) if (each) drop(each);
    line = rival = undefined;
    for (const name in timers) wait(name);
    control.abort();
    core.cut();
    if (!next) return;
    enter(next);
    core.cut(next.phase as "closed" | "failed");
  };

  const close = () => stop({ phase: "closed" });

  const attempt = (count: number, refresh?: boolean) => {
    // The one that worked last comes first.
    untried = transports.filter((transport) => transport !== first);
    farewell = undefined;
    line = open(first, refresh);
    enter({ phase: "connecting", attempt: count });
  };

  /** Gets what the next connection shows: the ticket, or with nothing `bearer`. */
  const authorize = async (refresh?: boolean) => {
    try {
      if (ticket) return (await ticket(control.signal)).trim();
      // As it is read from a file or a response: the line end is not part of it.
      if (refresh || !bearer) bearer = (typeof token === "function" ? await token(control.signal) : token)?.trim();
    } catch (error) {
      throw `no ${ticket ? "ticket" : "token"}: ${(error as Error)?.message ?? error}`;
    }
    return;
  };

  const open = (transport: Transport, refresh?: boolean): Line => {
    const sse = transport === "sse";
    let opened = 0;
    const self: Line = {
      transport,
      last: clock(),
      heard() {
        self.open = true;
        self.last = clock();
      },
      frame(text) {
        if (self.over) return;
        let event: IncomingEvent | undefined;
        try {
          event = JSON.parse(text);
          // What a blank session cannot take cannot be read.
          session({ emit() {}, reopen() {}, later() {}, take() {}, hold() {} } as unknown as Sink, []).take((event?.data && event) as IncomingEvent, sse);
        } catch {
          // Listeners of `frame` see it.
          event = undefined;
        }
        const welcome = event?.type === "connection.welcome" && (event as EventOf<"connection.welcome">).data as ConnectionWelcomeData & { expires_at?: string };
        self.heard();
        if (welcome) {
          self.welcomed = true;
          wait(transport);
          latency = self.last - opened;
          if (self === rival) {
            // From here on the stream is silent, and the socket asks for everything behind what the stream brought.
            if (line) drop(line);
            core.cut();
            rival = undefined;
            line = self;
          }
        }
        if (self !== line) return;
        emit("frame", { text, event });
        // A handler may have closed the client.
        if (self !== line) return;
        if (welcome) {
          first = transport;
          asked = 0;
          due = beaten = self.last;
          ahead = Date.now() - beaten;
          heartbeat = welcome.heartbeat_interval_ms ?? 30_000;
          reconnect.welcomed(self.last);
          pace.begin(welcome.limits);
          beat();
          expire(welcome.expires_at, welcome.server_time);
          later();
          // Last, since a handler may close the client.
          enter({ phase: "connected", transport, welcome, ...(transport !== transports[0] && fallback && { fallback }) });
        }
        if (event?.type === "connection.closing") farewell = (event as EventOf<"connection.closing">).data;
        if (event) core.take(event, sse);
      },
      cursor: (id) => core.begin(id),
      end(why) {
        if (self.over) return;
        drop(self);
        ended(self, why);
      },
      lost: (reason) => self.end({ code: 1006, reason: (reason as Error).message ?? reason }),
    };
    wait(transport, timeout, () => self.lost(self.open ? SILENT : "no answer"));
    authorize(refresh)
      .then((ticket) => {
        if (self.over) return;
        const token = ticket ? "" : bearer;
        const query = new URLSearchParams(sse ? core.query() : "");
        if (ticket) query.set("ticket", ticket);
        const url = `${base}${sse ? "sse" : "ws"}?${query}`;
        opened = clock();
        self.link = sse ? openStream(fetch, url, token, credentials, self) : openWebSocket(WebSocket, url, token, self);
      })
      .catch(self.lost);
    return self;
  };

  /** Tries a WebSocket again after a while, if that is the transport that is preferred. */
  const later = () => {
    wait("upgrade", upgradeDelay, transports[0] === "websocket" && !line?.link?.send && (() => switchTo("websocket")));
  };

  const ended = (from: Line, { code, reason }: Ended) => {
    if (from.transport === transports[0]) fallback = { code, reason };
    if (from === rival) {
      rival = undefined;
      later();
      return;
    }
    line = undefined;
    wait("pulse");
    core.cut();
    // A stream has no close code of its own.
    code = farewell?.code ?? code;
    reason ||= farewell?.reason || "connection lost";
    const unclear = !from.welcomed && code < 4000 && code !== 401 && code !== 403;
    const other = unclear && untried.shift();
    if (other) {
      line = open(other);
      return;
    }
    // An address without a stream is no reason to give up where there are sockets.
    const next = reconnect.next(unclear && transports[1] ? 1006 : code, farewell && (farewell.reconnect_after_ms ?? -1), clock(), Math.random(), renewable);
    if (!next) return stop({ phase: "failed", code, reason });
    const { attempt: count, delay, refresh } = next;
    wait("retry", delay, () => attempt(count + 1, refresh));
    enter({ phase: "reconnecting", attempt: count, retryAt: Date.now() + delay, code, reason });
  };

  const switchTo = (transport: Transport) => {
    if (!line?.welcomed) return;
    if (transport === "sse") {
      drop(line);
      core.cut();
      line = open(transport);
    } else if (!line.link?.send) rival ??= open(transport);
  };

  // Time

  /** The page is visible again, or the network is there again. */
  const wake = ({ type }: { type: string }) => {
    // A server that said when to return is not asked earlier.
    if (globalThis.document?.hidden || farewell) return;
    if (state.phase === "reconnecting") {
      wait("retry");
      attempt(state.attempt + 1);
    } else if (line?.welcomed) beat(type);
  };

  /** Is the server there? A browser does not show its pings. `woken`: the event after which an answer is wanted at once. */
  const beat = (woken?: string) => {
    const here = line as Line;
    const socket = here.link?.send;
    const now = clock();
    // After sleep a timer comes late, or the clock was stopped with the machine and the other one is ahead.
    const gained = Date.now() - now - ahead;
    if (woken || Math.max(now - beaten, gained) > timeout) {
      due = 0;
      // A stream cannot be asked. Where a heartbeat is overdue, or the network was away, another one takes its place.
      if (!socket && (woken === "online" || now - here.last + gained > heartbeat)) return switchTo("sse");
    }
    beaten = now;
    ahead += gained;
    if (socket && !globalThis.document?.hidden && now >= due) {
      asked = now;
      due = Infinity;
      core.command("ping", undefined, (answer) => {
        if (typeof answer === "string" || asked !== now) return;
        asked = 0;
        latency = clock() - now;
        due = clock() + pingInterval;
        emit("latency", latency);
      });
    }
    if (asked) emit("latency", slow());
    if (now - Math.max(here.last, asked) >= timeout + (asked ? 0 : heartbeat)) here.lost(SILENT);
    else wait("pulse", Math.min(timeout / 3, pingInterval), beat);
  };

  /** Gets another token when four fifths of the time of this one are over. */
  const expire = (end: string | undefined, time: string) => {
    if (end && token) wait("token", (Date.parse(end) - Date.parse(time)) * 0.8, () =>
      authorize(true)
        .then(() => authenticate(bearer as string))
        // Where it does not work, the server says so when the old token expires, and the reconnect gets a fresh one.
        .catch(() => {}),
    );
  };

  const authenticate: Client["authenticate"] = async (token, options) => {
    // The token of a stream is in its head.
    const socket = line?.link?.send;
    if (socket) {
      const { time, data } = await send("authenticate", { token }, options);
      expire((data as any).data.expires_at, time);
    }
    bearer = token;
    if (!socket) switchTo("sse");
  };

  const core = session(
    {
      emit,
      send: sendText,
      // All changes of one moment go out together.
      later: () => queueMicrotask(core.flush),
      take(targets) {
        const ms = pace.take(targets, clock());
        if (ms) wait("flush", ms, core.flush);
        return !ms;
      },
      hold: (ms) => pace.hold(ms, clock()),
      // The targets of a stream are in its address: other targets are another stream. Changes of one moment are one.
      reopen: () => wait("reopen", 0, () => switchTo("sse")),
    },
    named(options.targets ?? []),
    options.resume,
  );

  on("*", reconnect.delivered);

  return {
    get state() {
      return state;
    },
    get latency() {
      return slow();
    },
    get targets() {
      return core.wanted();
    },
    start() {
      if (line || outer?.aborted) return;
      stop();
      control = new AbortController();
      for (const name of ["online", "visibilitychange"] as const) globalThis.addEventListener?.(name, wake, control);
      outer?.addEventListener("abort", close, control);
      attempt(1);
    },
    close,
    async subscribe(targets, options) {
      const wanted = named(targets);
      const result = await call<Subscribed>((answer) => core.subscribe(wanted, answer), options);
      const [refused] = result.refused;
      if (refused && result.refused.length === wanted.length) throw new EventwireError(refused.code, `${refused.to}: ${refused.message}`, result.refused);
      return result;
    },
    unsubscribe: (targets, options) => call((answer) => core.unsubscribe(named(targets), answer), options),
    send,
    sendText,
    authenticate,
    switchTo,
    checkpoint: core.checkpoint,
    on,
  };
}

/** A client that connects at once. */
export function connect(url: string | URL, options?: Options): Client {
  const client = createClient(url, options);
  client.start();
  return client;
}
