/** The words that the client and its application share. Types only. */

import type { ConnectionWelcomeData, ErrorCode, Event, RefusedStream } from "./events.js";

/** The event of one type: `EventOf<"adw.text_block">`. */
export type EventOf<T extends Event["type"]> = Extract<Event, { type: T }>;

/** How frames travel. */
export type Transport = "websocket" | "sse";

/** Why events will not come. A reason that this version does not know, of a later server, is said as `expired`. */
export type GapReason =
  /** They were older than the history keeps. */
  | "expired"
  /** This connection was so slow that the history dropped them first. */
  | "slow_consumer"
  /** The history is another one than before, for instance because the server was restarted. What the new one holds follows. */
  | "epoch_changed"
  /** The numbers say that something was sent which never arrived. The client noticed; the server did not say so. */
  | "hole";

/** Events that will not come. Load the present state from where it is kept. */
export interface Gap {
  /** The target that they are missing from, as it was subscribed. */
  to: string;
  /** The same, or the part of it that they are missing from. */
  stream: string;
  reason: GapReason;
  /** First number that may be missing, where it is known. */
  from_seq?: number;
  /** Last number that may be missing, where it is known. */
  to_seq?: number;
}

/** A target and where to begin: after `since` (0: with everything that is kept), or without it from now on. */
export interface Target {
  /** `adw:<id>`, `room:<name>`, `session:<context>`, `user:<id>`, `global`, or `*` for all that you may observe. */
  to: string;
  since?: number;
}

/** How far everything was read: plain data for `JSON.stringify`. Hand it to the next client as `resume`. */
export interface Checkpoint {
  /** The history that the positions belong to. */
  epoch?: string;
  /** Target to the last number that was read of it. */
  positions: Record<string, number>;
}

/** What became of a subscription. */
export interface Subscribed {
  /** The targets that the server refused. They are not asked for again. All others are received now. */
  refused: RefusedStream[];
}

/** Where the connection stands. A new object with every change, so that it can be compared by identity. */
export type State =
  /** `start` was not called. */
  | { phase: "idle" }
  /** A connection is being made. */
  | { phase: "connecting"; attempt: number }
  /** The server said welcome. */
  | {
      phase: "connected";
      transport: Transport;
      welcome: ConnectionWelcomeData;
      /** Where this is not the preferred transport: how the last attempt over that one ended. */
      fallback?: { code: number; reason: string };
    }
  /** The connection is gone; attempt number `attempt` begins at `retryAt` (milliseconds since 1970). */
  | { phase: "reconnecting"; attempt: number; retryAt: number; code: number; reason: string }
  /** No further attempt is made. `code` is a close code (1000 and above) or the HTTP status of a refusal. */
  | { phase: "failed"; code: number; reason: string }
  /** `close` was called, or the signal of the options was aborted. */
  | { phase: "closed" };

/**
 * How good the connection is. `good`: a ping is answered in less than 200 ms. `fair`: in less than 800 ms. `poor`: later, or not
 * yet after so long. `offline`: not connected. Over SSE the time is that from the request to the welcome.
 */
export type Quality = "good" | "fair" | "poor" | "offline";

/** A command as it goes out: `connection.reply`, `connection.error` or another event of the family answers it. */
export interface OutgoingCommand {
  type: string;
  data?: unknown;
}

/** Codes of errors that the client raises by itself, beside those of the server. */
export type ClientErrorCode =
  /** The connection was lost before the answer came. Whether it was done is not known; it is not sent again. */
  | "disconnected"
  /** The client was closed, by `close` or by its signal. */
  | "closed"
  /** The client gave up; `state` says why. */
  | "failed"
  /** `queueLimit` commands wait for a connection already. */
  | "queue_full"
  /** It needs a WebSocket, and this connection is SSE. */
  | "needs_websocket"
  /** The reader of an iterator was so slow that its buffer ran over. */
  | "buffer_overflow"
  /** A publisher reached no server. */
  | "unreachable"
  /** A publisher's request may have arrived, and its answer did not. Publishing the event again with its id is harmless. */
  | "unanswered"
  /** Something else than a server of Eventwire answered a publisher. */
  | "foreign"
  | ErrorCode;

/** Everything that goes wrong with a call. */
export class EventwireError extends Error {
  override readonly name = "EventwireError";
  /** What went wrong, for programs. */
  declare readonly code: ClientErrorCode;
  /** What the server said about it: `retryable`, `retry_after_ms`, `details`; for `subscribe` the refused targets. */
  declare readonly details: unknown;

  constructor(code: ClientErrorCode, message: string = code, details?: unknown) {
    super(message);
    this.code = code;
    this.details = details;
  }
}
