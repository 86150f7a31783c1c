/** `@eventwire/client`: everything but the list of known types (`./events`) and the hooks (`./react`). */

export { connect, createClient } from "./client.js";
export type { Abortable, Client, Handler, Options, Signals, TokenSource } from "./client.js";
export type { Backoff } from "./reconnect.js";
export type { WebSocketClass, WebSocketLike } from "./link.js";
export { EventwireError } from "./types.js";
export type { Checkpoint, ClientErrorCode, EventOf, Gap, GapReason, Quality, State, Subscribed, Target, Transport } from "./types.js";
export type * from "./events.js";
