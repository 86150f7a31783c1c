/**
 * What a client remembers over all of its connections: which targets it wants, how far it has read each of them, and which of
 * its commands are unanswered. No socket, no clock, no randomness: frames go in, and what follows from them goes to the `Sink`.
 *
 * A position belongs to a root (`adw:x`, `global`, `*`), because the frames of a root come in the order of their numbers. That
 * one number is enough to resume, and everything at or below it is a duplicate. Holes are looked for in each exact stream,
 * since `prev` chains the frames of one stream: a `prev` above the last number seen there names something that never came.
 */
import type { IncomingEvent, RefusedStream } from "./events.js";
import type { Checkpoint, Gap, Subscribed, Target } from "./types.js";
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
export type Session = ReturnType<typeof session>;
export declare function session(sink: Sink, targets: readonly Target[], resume?: Checkpoint): {
    wanted: () => string[];
    command: (type: string, data: unknown, call: Call) => (() => void);
    unsubscribe: (targets: readonly Target[], call: Call) => (() => void);
    flush: () => void;
    /** The commands that are not answered. */
    pending: ReadonlyMap<string, unknown>;
    /** How far everything wanted was read. */
    checkpoint(): Checkpoint;
    /** Wants targets, with the next commands. Returns the function that gives up the call. */
    subscribe(wishes: readonly Target[], call: Call): () => void;
    /** An SSE stream is about to be the connection: the query to open it with. */
    query(): string;
    /** The SSE stream says where it begins. */
    begin(id: string): void;
    /** The connection is gone. Commands that were sent are answered, with `end` all calls; targets are asked for again. */
    cut(end?: "closed" | "failed"): void;
    /**
     * Takes one frame of the server. `sse`: whether it came over a stream, and not over a WebSocket. Throws where members are
     * missing: methods that only a string or a number has are called for that.
     */
    take(frame: IncomingEvent, sse: boolean): void;
};
