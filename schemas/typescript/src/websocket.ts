/** Frames over a WebSocket. */

import type { Link, Listener, WebSocketClass } from "./link.js";

export function openWebSocket(Socket: WebSocketClass, url: string, token: string | undefined, { frame, end, lost }: Listener): Link {
  const protocols = ["eventwire.v1"];
  // A token as a subprotocol: base64url without padding of its UTF-8. It never stands in a URL.
  if (token) protocols.push("eventwire.token." + btoa(unescape(encodeURIComponent(token))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, ""));
  const socket = new Socket(url.replace("http", "ws"), protocols);
  socket.onmessage = ({ data }: { data: unknown }) => frame(`${data}`);
  socket.onclose = end;
  // In Node 20 no `close` follows.
  socket.onerror = () => lost("no connection");
  return {
    send(text) {
      socket.send(text);
      return true;
    },
    close: () => socket.close(1000),
  };
}
