/** Frames over a WebSocket. */
export function openWebSocket(Socket, url, token, { frame, end }) {
    const protocols = ["eventwire.v1"];
    // A token as a subprotocol: base64url without padding. It never stands in a URL.
    if (token)
        protocols.push("eventwire.token." + btoa(token).replace(/[+/=]/g, (sign) => ({ "+": "-", "/": "_" })[sign] ?? ""));
    const socket = new Socket(url.replace("http", "ws"), protocols);
    socket.onmessage = ({ data }) => frame(String(data));
    socket.onclose = end;
    // `close` follows, and says all that may be known.
    socket.onerror = () => { };
    return {
        send(text) {
            socket.send(text);
            return true;
        },
        close() {
            socket.onmessage = socket.onclose = null;
            socket.close(1000);
        },
    };
}
