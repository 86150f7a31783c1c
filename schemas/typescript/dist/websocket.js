/** Frames over a WebSocket. */
export function openWebSocket(Socket, url, token, { frame, end, lost }) {
    const protocols = ["eventwire.v1"];
    // A token as a subprotocol: base64url without padding. It never stands in a URL.
    if (token)
        protocols.push("eventwire.token." + btoa(token).replace(/[+/=]/g, (sign) => ({ "+": "-", "/": "_" })[sign] ?? ""));
    const socket = new Socket(url.replace("http", "ws"), protocols);
    socket.onmessage = ({ data }) => frame(String(data));
    socket.onclose = end;
    // In Node 20 no `close` follows.
    socket.onerror = () => lost("no connection");
    return {
        send(text) {
            socket.send(text);
            return true;
        },
        close() {
            socket.onmessage = socket.onclose = null;
            socket.onerror = () => { };
            socket.close(1000);
        },
    };
}
