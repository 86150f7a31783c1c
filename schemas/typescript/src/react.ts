/** Hooks for React 18 and newer. The client is made once and shared; a component that is gone leaves nothing behind. */

import { createContext, useCallback, useContext, useEffect, useRef, useState, useSyncExternalStore, type Context } from "react";

import { follow, onTarget } from "./follow.js";
import { createClient, type Client, type Event, type Gap, type Handler, type IncomingEvent, type Options, type Quality, type RefusedStream, type Signals, type State } from "./index.js";
import { quality } from "./iterate.js";

/** The client that the hooks below use: `<EventwireContext value={client}>`. */
export const EventwireContext: Context<Client | undefined> = createContext<Client | undefined>(undefined);

function useClient(client: Client | undefined): Client {
  const given = useContext(EventwireContext);
  const used = client ?? given;
  if (!used) throw new Error("no Eventwire client: pass one to the hook, or wrap the component in <EventwireContext value={client}>");
  return used;
}

/**
 * A client of its own for a component: connects when the component is shown and closes when it is gone. `url` and `options` are
 * read once. In strict mode, where React shows every component twice, one connection remains.
 */
export function useEventwire(url: string, options?: Options): Client {
  const [client] = useState(() => createClient(url, options));
  useEffect(() => {
    // A component that is taken away and put back in the same moment keeps its client, so nothing is opened for the first.
    const timer = setTimeout(() => client.start());
    return () => {
      clearTimeout(timer);
      client.close();
    };
  }, [client]);
  return client;
}

/** Where the connection stands; the component is rendered anew with every change. */
export function useConnectionState(client?: Client): State {
  const used = useClient(client);
  return useSyncExternalStore(
    useCallback((changed: () => void) => used.on("state", changed), [used]),
    () => used.state,
    () => used.state,
  );
}

/** How good the connection is. */
export function useQuality(client?: Client): Quality {
  const used = useClient(client);
  return useSyncExternalStore(
    useCallback(
      (changed: () => void) => {
        const offs = [used.on("state", changed), used.on("latency", changed)];
        return () => offs.forEach((off) => off());
      },
      [used],
    ),
    () => quality(used),
    () => quality(used),
  );
}

/** Which client a hook uses, and with `to` which target it is about. */
export interface Scope {
  /** Only what is about this target: its events, each once, its gaps, its refusal. */
  to?: string | undefined;
  /** The client; that of `EventwireContext` unless given. */
  client?: Client | undefined;
}

/** Calls `handler` for every event of a type or for a signal, with `to` of that target only. The newest handler is used; it need not be memoised. */
export function useEvent<K extends keyof Signals | Event["type"]>(type: K, handler: Handler<K>, { to, client }: Scope = {}): void {
  const used = useClient(client);
  const newest = useRef(handler);
  useEffect(() => {
    newest.current = handler;
  });
  useEffect(() => {
    const call = ((value: never) => newest.current(value)) as Handler<K>;
    return to === undefined ? used.on(type, call) : onTarget(used, to, type, call);
  }, [used, type, to]);
}

/** What a component knows about its target. */
export interface TargetState {
  /** The newest gap of the target: load its state anew. */
  gap?: Gap;
  /** Why the target is not received. */
  refused?: RefusedStream;
}

/** Where a target begins. */
export interface TargetOptions {
  /** After this number; 0: with everything that is kept. Without it from now on. */
  since?: number | undefined;
  client?: Client | undefined;
}

/** Receives a target as long as the component is shown, and says what is missing of it, or why it is refused. Components that want the same target share it. */
export function useTarget(to: string | undefined, { since, client }: TargetOptions = {}): TargetState {
  const { gap, refused } = useEvents<undefined>(to, { since, client, reduce: ignore, initial: undefined });
  return { ...(gap && { gap }), ...(refused && { refused }) };
}
const ignore = () => undefined;

/** The events of a target, as a list. */
export interface EventList extends TargetState {
  /** The newest `limit` events, the last one at the end. */
  events: IncomingEvent[];
}

/** The events of a target, reduced to a state. */
export interface Reduced<S> extends TargetState {
  state: S;
}

/**
 * Receives a target as long as the component is shown, and keeps its events: the newest `limit` (1,000 unless set), or what
 * `reduce` makes of them, beginning with `initial`. With `since: 0` its history comes first. Another `to` begins anew.
 */
export function useEvents(to: string | undefined, options?: TargetOptions & { limit?: number }): EventList;
export function useEvents<S>(to: string | undefined, options: TargetOptions & { reduce: (state: S, event: IncomingEvent) => S; initial: S }): Reduced<S>;
export function useEvents(
  to: string | undefined,
  { since, client, limit = 1000, reduce, initial }: TargetOptions & { limit?: number; reduce?: (state: any, event: IncomingEvent) => any; initial?: unknown } = {},
): EventList & Reduced<unknown> {
  const used = useClient(client);
  const newest = useRef({ limit, reduce });
  useEffect(() => {
    newest.current = { limit, reduce };
  });
  const begin = (): Kept => ({ to, used, value: reduce ? initial : [] });
  const [kept, setKept] = useState(begin);
  useEffect(() => {
    setKept(begin());
    if (to === undefined) return undefined;
    return follow(used, to, {
      since,
      event(event) {
        const { limit, reduce } = newest.current;
        setKept((kept) => {
          const value = reduce ? reduce(kept.value, event) : [...(kept.value as IncomingEvent[]), event].slice(-limit);
          return Object.is(value, kept.value) ? kept : { ...kept, value };
        });
      },
      gap: (gap) => setKept((kept) => ({ ...kept, gap })),
      refused: (refused) => setKept((kept) => ({ ...kept, refused })),
    });
  }, [used, to, since]);
  // Until the effect has run, what is kept is of the target before.
  const { value, gap, refused } = kept.to === to && kept.used === used ? kept : begin();
  return { events: value as IncomingEvent[], state: value, ...(gap && { gap }), ...(refused && { refused }) };
}

interface Kept extends TargetState {
  to: string | undefined;
  used: Client;
  value: unknown;
}
