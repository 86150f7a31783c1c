"""Addresses of servers: one serves for everything, `http` and `ws` mean the same server, and the paths are known."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


class Server:
    """A server, as it is dialled."""

    def __init__(self, url: str) -> None:
        """Reads `http://host[:port][/base]`, `https`, `ws` or `wss`, with or without the path of an endpoint."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
            raise ValueError(f"{url!r} is no address of a server; it looks like http://127.0.0.1:4800")
        if parts.query or parts.fragment or parts.username:
            raise ValueError(f"{url!r}: an address has no query and no user; hand a token over as `token`")
        secure = "s" if parts.scheme in ("https", "wss") else ""
        base = parts.path.rstrip("/").removesuffix("/v1/ws").removesuffix("/v1/sse").removesuffix("/v1/events")
        self.events = f"http{secure}://{parts.netloc}{base}/v1/events"
        self.websocket = f"ws{secure}://{parts.netloc}{base}/v1/ws"
        self.event_stream = f"http{secure}://{parts.netloc}{base}/v1/sse"
        self.host = parts.netloc
        self.is_loopback = _is_loopback(parts.hostname)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
