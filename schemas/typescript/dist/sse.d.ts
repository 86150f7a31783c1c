/**
 * Frames over server-sent events. Read with `fetch` and not with EventSource: this way a token goes into a header, a refusal
 * shows its status, comments count as signs of life, and Node has it.
 */
import { type Link, type Listener } from "./link.js";
/** Cuts a stream of text into fields (WHATWG HTML, section 9.2.6). Returns the function that takes the next piece. */
export declare function parser({ frame, cursor }: Pick<Listener, "frame" | "cursor">): (piece: string) => void;
export declare function openStream(fetch: typeof globalThis.fetch, url: string, token: string | undefined, credentials: RequestCredentials | undefined, listener: Listener): Link;
