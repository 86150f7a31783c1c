/**
 * The shell around the session: it opens links, moves frames, keeps time, and answers the application. What it decides about
 * targets, positions and repetitions is in session.ts, and when to come back in reconnect.ts.
 */
import type { Event, IncomingEvent, RefusedStream } from "./events.js";
import type { WebSocketClass } from "./link.js";
import { type Backoff } from "./reconnect.js";
import { type Checkpoint, type EventOf, type Gap, type State, type Subscribed, type Target, type Transport } from "./types.js";
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
    frame: {
        text: string;
        event: IncomingEvent | undefined;
    };
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
/** A client of the server at `url`: `https://host`, `wss://host/v1/ws`, or in a browser a path. It does nothing before `start`. */
export declare function createClient(url: string | URL, options?: Options): Client;
/** A client that connects at once. */
export declare function connect(url: string | URL, options?: Options): Client;
