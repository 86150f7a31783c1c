/** Publishing over HTTP: one event or many, with an outcome for each, and never twice. For back ends in Node; no WebSocket. */
import { EventwireError } from "./index.js";
import type { Publication } from "./publications.js";
export type * from "./publications.js";
/** Most events in one request (HTTP-05). */
export declare const MAX_ITEMS = 1000;
/** Most bytes in one request (HTTP-05). */
export declare const MAX_BYTES: number;
/** Most bytes of one event (LIMIT-01). */
export declare const MAX_EVENT_BYTES: number;
/** An accepted event. */
export interface Receipt {
    type: string;
    to: string;
    /** The key under which it was published. */
    id: string;
    /** Its number, if it is logged. */
    seq?: number;
}
/** What became of one event of several. */
export type Outcome = Receipt | EventwireError;
/** Entries that the server dropped before their time, because its memory for this principal was used up (LIMIT-10). */
export interface Evictions {
    /** Newest values: receivers that subscribe from now on do not get them; publish them again if they matter. */
    newest_values: number;
    /** Ids: an event that is published again under one of them is a new event. */
    ids: number;
}
/** How a publisher behaves. */
export interface PublisherOptions {
    /** An API key or a JWT; or a function that gets one, which is called again when the server refuses the last. */
    token?: string | (() => string | Promise<string>);
    /** How often a request is repeated, and how long each wait may be (full jitter). Milliseconds; 250, 10,000 and 6 unless set. */
    backoff?: {
        minDelay?: number;
        maxDelay?: number;
        maxAttempts?: number;
    };
    /** Longest wait for an answer, in milliseconds. 30,000 unless set. */
    timeout?: number;
    /** Most bytes of events that wait. What comes above it is refused with `queue_full`. 64 MiB unless set. */
    maxWaitingBytes?: number;
    /** Sends requests; `fetch` unless set. */
    fetch?: typeof fetch;
}
/**
 * Publishes events in the order of the calls. What waits while a request is under way goes together in the next one.
 *
 * ```ts
 * const publisher = new Publisher("http://127.0.0.1:4800", { token });
 * await publisher.publish({ type: "adw.text_block", to: "adw:29fb6a3e", data: { adw_id: "29fb6a3e", content: "Hello" } });
 * ```
 *
 * Every event gets an id before it is sent, so that a request whose answer was lost is repeated without publishing twice. What
 * fails for a reason that passes (no connection, a lost answer, 429, 503) is repeated with backoff.
 */
export declare class Publisher {
    #private;
    /** `url` is the address of the gateway, such as `http://127.0.0.1:4800`; a path before `/v1` is kept. */
    constructor(url: string, options?: PublisherOptions);
    /**
     * Publishes one event. Resolves when the server has taken it. Rejects with {@link EventwireError}: a code of the server;
     * `unreachable`; `unanswered`, where it may have been published; `foreign`, where another program answers; `queue_full`; `closed`.
     */
    publish(event: Publication): Promise<Receipt>;
    /** Publishes several events in their order; the outcome of each is in its place. One that is refused stops no other. */
    publishAll(events: Iterable<Publication>): Promise<Outcome[]>;
    /** How many entries the server dropped before their time since this publisher was made. */
    get evicted(): Evictions;
    /** Resolves when nothing waits any more. */
    flush(): Promise<void>;
    /** Takes no further event, and resolves when those that wait have their outcomes. */
    close(): Promise<void>;
}
