/** Frames over a WebSocket. */
import { type Link, type Listener, type WebSocketClass } from "./link.js";
export declare function openWebSocket(Socket: WebSocketClass, url: string, token: string | undefined, { frame, heard, end, lost }: Listener): Link;
