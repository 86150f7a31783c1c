/** What can be told from outside of a client: waiting for it in `async` functions, its events one after the other, its quality. */

import { unseen } from "./follow.js";
import { EventwireError, type Client, type Event, type EventOf, type IncomingEvent, type Quality } from "./index.js";

/** How good the connection is now; may change with the signals `state` and `latency`. */
export function quality({ state, latency = 0 }: Client): Quality {
  if (state.phase !== "connected") return "offline";
  return latency >= 800 ? "poor" : latency >= 200 ? "fair" : "good";
}

/** Resolves when the client is connected; rejects when it was closed or has given up, or when the signal is aborted. */
export function connected(client: Client, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
  return new Promise((resolve, reject) => {
    const control = new AbortController();
    const end = (settle: () => void) => {
      control.abort();
      settle();
    };
    const look = () => {
      const { state } = client;
      if (state.phase === "connected") end(resolve);
      else if (state.phase === "failed") end(() => reject(new EventwireError("failed", `${state.reason} (${state.code})`, state)));
      else if (state.phase === "closed") end(() => reject(new EventwireError("closed")));
    };
    signal?.throwIfAborted();
    signal?.addEventListener("abort", () => end(() => reject(signal.reason)), control);
    client.on("state", look, control);
    look();
  });
}

/** What an iterator takes. */
export interface EventsOptions {
  /** Only events of this target. */
  to?: string;
  /** Most events that wait for the reader. 1,000 unless set. */
  buffer?: number;
  signal?: AbortSignal;
}

/**
 * The events of a client as an async iterator, from this call on: all, or those of some types or of one target. At most `buffer`
 * of them wait for the reader; one more ends the iteration with `buffer_overflow` behind those that wait, since a browser cannot
 * ask a WebSocket to slow down. It ends when the client is closed, and throws when the client has failed or the signal is aborted.
 */
export function events<T extends Event["type"]>(client: Client, options: EventsOptions & { types: readonly T[] }): AsyncIterableIterator<EventOf<T>>;
export function events(client: Client, options?: EventsOptions): AsyncIterableIterator<IncomingEvent>;
export function events(client: Client, { signal, types, to, buffer = 1000 }: EventsOptions & { types?: readonly string[] } = {}): AsyncIterableIterator<any> {
  const control = new AbortController();
  const waiting: IncomingEvent[] = [];
  let over: { error?: unknown } | undefined;
  let wake = () => {};
  const end = (how: { error?: unknown }) => {
    control.abort();
    over ??= how;
    wake();
  };
  const aborted = () => {
    waiting.length = 0;
    end({ error: signal?.reason });
  };
  const isNew = unseen(client, control);
  client.on(
    "*",
    (event) => {
      if (!isNew(event) || (types && !types.includes(event.type)) || (to && event.to.split("/", 1)[0] !== to)) return;
      if (waiting.length < buffer) waiting.push(event);
      else end({ error: new EventwireError("buffer_overflow", `more than ${buffer} events wait to be read`) });
      wake();
    },
    control,
  );
  client.on(
    "state",
    (state) => {
      if (state.phase === "closed") end({});
      else if (state.phase === "failed") end({ error: new EventwireError("failed", `${state.reason} (${state.code})`, state) });
    },
    control,
  );
  if (signal?.aborted) aborted();
  signal?.addEventListener("abort", aborted, control);
  return {
    async next() {
      for (;;) {
        const value = waiting.shift();
        if (value) return { value, done: false };
        if (over) {
          const { error } = over;
          over = {};
          if (error) throw error;
          return { value: undefined, done: true };
        }
        await new Promise<void>((resolve) => (wake = resolve));
      }
    },
    async return() {
      waiting.length = 0;
      end({});
      return { value: undefined, done: true };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
