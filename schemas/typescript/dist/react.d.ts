/** Hooks for React 18 and newer. The client is made once and shared; a component that is gone leaves nothing behind. */
import { type Context } from "react";
import { type Client, type Event, type Gap, type Handler, type IncomingEvent, type Options, type Quality, type RefusedStream, type Signals, type State } from "./index.js";
/** The client that the hooks below use: `<EventwireContext value={client}>`. */
export declare const EventwireContext: Context<Client | undefined>;
/**
 * A client of its own for a component: connects when the component is shown and closes when it is gone. `url` and `options` are
 * read once. In strict mode, where React shows every component twice, one connection remains.
 */
export declare function useEventwire(url: string, options?: Options): Client;
/** Where the connection stands; the component is rendered anew with every change. */
export declare function useConnectionState(client?: Client): State;
/** How good the connection is. */
export declare function useQuality(client?: Client): Quality;
/** Which client a hook uses, and with `to` which target it is about. */
export interface Scope {
    /** Only what is about this target: its events, each once, its gaps, its refusal. */
    to?: string | undefined;
    /** The client; that of `EventwireContext` unless given. */
    client?: Client | undefined;
}
/** Calls `handler` for every event of a type or for a signal, with `to` of that target only. The newest handler is used; it need not be memoised. */
export declare function useEvent<K extends keyof Signals | Event["type"]>(type: K, handler: Handler<K>, { to, client }?: Scope): void;
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
export declare function useTarget(to: string | undefined, { since, client }?: TargetOptions): TargetState;
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
export declare function useEvents(to: string | undefined, options?: TargetOptions & {
    limit?: number;
}): EventList;
export declare function useEvents<S>(to: string | undefined, options: TargetOptions & {
    reduce: (state: S, event: IncomingEvent) => S;
    initial: S;
}): Reduced<S>;
