/** Frames over a WebSocket. */

import { unreachable, type Link, type Listener, type WebSocketClass } from "./link.js";

export function openWebSocket(Socket: WebSocketClass, url: string, token: string | undefined, { frame, heard, end, lost }: Listener): Link {
  if (!Socket) throw "no WebSocket here";
  const protocols = ["eventwire.v1"];
  // A token as a subprotocol: base64url without padding of its UTF-8. It never stands in a URL.
  if (token) protocols.push("eventwire.token." + btoa(unescape(encodeURIComponent(token))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, ""));
  const socket = new Socket(url.replace("http", "ws"), protocols);
  socket.onopen = heard;
  socket.onmessage = ({ data }: { data: unknown }) => frame(`${data}`);
  socket.onclose = end;
  // In Node 20 no `close` follows. A browser does not show the answer to a handshake.
  socket.onerror = ({ message }: { message?: string }) => lost(unreachable("WebSocket", message));
  return {
    send(text) {
      socket.send(text);
      return true;
    },
    close: () => socket.close(1000),
  };
}
