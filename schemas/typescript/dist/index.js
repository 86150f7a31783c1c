/** `@eventwire/client`: everything but the list of known types (`./events`) and the hooks (`./react`). */
export { connect, createClient } from "./client.js";
export { EventwireError } from "./types.js";
export { connected, events } from "./iterate.js";
