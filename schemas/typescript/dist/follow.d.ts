/** One target for one part of a page: its events, its gaps and its refusal. Parts that follow the same target share its subscription. */
import type { Client, Event, Gap, IncomingEvent, RefusedStream, Signals } from "./index.js";
/** What `follow` calls. */
export interface Follower {
    /** Begin after this number; 0: with everything that is kept. Without it from now on. */
    since?: number | undefined;
    /** An event of the target: each once, in order. */
    event?: (event: IncomingEvent) => void;
    /** Events of the target that will not come. */
    gap?: (gap: Gap) => void;
    /** The target is refused. */
    refused?: (refused: RefusedStream) => void;
}
/**
 * Whether one reader has not seen an event yet. When another part of the page asks for an earlier beginning, the client receives
 * events again; a reader that has them is not given them twice.
 */
export declare function unseen(client: Client, options: {
    signal: AbortSignal;
}): (event: IncomingEvent) => boolean;
/** Whether a value of a signal or an event is about a target. */
export declare function concerns(client: Client, to: string, type: string, value: unknown): boolean;
/** Calls a handler for every event of a type, or for a signal, that is about a target. Returns the function that ends it. */
export declare function onTarget(client: Client, to: string, type: keyof Signals | Event["type"], handler: (value: any) => void): () => void;
/** Receives a target as long as it is followed, beside all others that follow it. Returns the function that ends it. */
export declare function follow(client: Client, to: string, { since, event, gap, refused }?: Follower): () => void;
