/** Frames over a WebSocket. */
import type { Link, Listener, WebSocketClass } from "./link.js";
export declare function openWebSocket(Socket: WebSocketClass, url: string, token: string | undefined, { frame, end, lost }: Listener): Link;
