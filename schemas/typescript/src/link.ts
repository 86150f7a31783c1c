/** What both transports look like from above, and what they take from their surroundings. */

import type { Ended } from "./reconnect.js";

/** One connection, or the attempt to make one. */
export interface Link {
  /** Sends a text frame; an SSE stream has no way to. */
  send?(text: string): true;
  close(): void;
}

/** What a link says. */
export interface Listener {
  /** The server is there: a comment, or the head of an answer came. */
  heard(): void;
  frame(text: string): void;
  /** A position that an SSE stream names. */
  cursor(id: string): void;
  /** How it ended. */
  end(ended: Ended): void;
  lost(reason: string | Error): void;
}

/** A WebSocket as far as it is used here; browsers, Node 22 and the package `ws` have one. */
export interface WebSocketLike {
  send(data: string): void;
  close(code?: number, reason?: string): void;
  onopen?: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
}
export type WebSocketClass = new (url: string, protocols: string[]) => WebSocketLike;

/** Why there is no connection. A browser has one sentence for all that goes wrong, and does not show how a server refuses. */
export const unreachable = (what: string, cause?: string): string => `no ${what}: ${cause || (globalThis.navigator?.onLine === false ? "offline" : "refused or unreachable")}`;
