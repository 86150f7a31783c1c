/** What can be told from outside of a client: waiting for it in `async` functions, its events one after the other, its quality. */
import { type Client, type Event, type EventOf, type IncomingEvent, type Quality } from "./index.js";
/** How good the connection is now; may change with the signals `state` and `latency`. */
export declare function quality({ state, latency }: Client): Quality;
/** Resolves when the client is connected; rejects when it was closed or has given up, or when the signal is aborted. */
export declare function connected(client: Client, { signal }?: {
    signal?: AbortSignal;
}): Promise<void>;
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
export declare function events<T extends Event["type"]>(client: Client, options: EventsOptions & {
    types: readonly T[];
}): AsyncIterableIterator<EventOf<T>>;
export declare function events(client: Client, options?: EventsOptions): AsyncIterableIterator<IncomingEvent>;
