"""Connections of a listener: a WebSocket, or an event stream over HTTP.

Both are read by one task that outlives a reader that is cancelled, so that nothing that arrived is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket as sockets
import ssl
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.typing import Subprotocol

from ._address import Server
from ._event_stream import Block, Reader, TooLong
from .backoff import CLOSE_CODES, AfterClose, Cause, Ended, after_status
from .session import SseRequest

SUBPROTOCOL = Subprotocol("eventwire.v1")
"""What canonical clients offer."""
MAX_FRAME_BYTES = 8 * 1024 * 1024
"""Largest frame that is read: an event of 1 MiB may grow when its numbers are written anew."""
ABNORMAL = 1006
"""Close code of a connection that ended without one (RFC 6455, section 7.4.1)."""


@dataclass(frozen=True)
class Finished:
    """The server ended an event stream as it ends one; the line did not break."""


class NoConnection(Exception):
    """An attempt that led to no connection. `reached` is whether there was a server at all."""

    def __init__(self, ended: Ended, *, reached: bool) -> None:
        super().__init__(ended.reason)
        self.ended = ended
        self.reached = reached


Heard: TypeAlias = "str | Block | Ended | Finished"
"""What came over a connection: a frame, a block of an event stream, or the end."""


def lost(why: str, cause: Cause = "lost") -> Ended:
    """The end of a connection without a close code."""
    return Ended(AfterClose.RECONNECT, ABNORMAL, why, cause)


class Link:
    """An open connection."""

    def __init__(self) -> None:
        self._reading: asyncio.Task[Heard | None] | None = None
        self.answered_at: float | None = None

    async def next(self, seconds: float) -> Heard | None:
        """What comes next; `None` when nothing came in so many seconds. May be cancelled: nothing is lost by that."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._read())
        reading = self._reading
        await asyncio.wait({reading}, timeout=max(seconds, 0.0))
        if not reading.done():
            return None
        if self._reading is reading:
            self._reading = None
        return Finished() if reading.cancelled() else reading.result()

    def _read(self) -> Coroutine[Any, Any, Heard | None]:
        raise NotImplementedError

    async def send(self, text: str) -> None:
        """Sends a command, where the connection carries commands."""

    async def probe(self) -> bool:
        """Asks the server for a sign of life; `False` where only another connection can tell."""
        return False

    async def close(self) -> None:
        """Closes politely."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({reading})


class WebSocketLink(Link):
    """A WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        super().__init__()
        self._socket = socket

    async def _read(self) -> Heard | None:
        try:
            text = await self._socket.recv()
        except ConnectionClosed as closed:
            return _end_of(closed)
        return text if isinstance(text, str) else lost("the server sent a binary frame")

    async def send(self, text: str) -> None:
        # A connection that is gone says so when it is read, after what is still to be read.
        with contextlib.suppress(ConnectionClosed):
            await self._socket.send(text)

    async def probe(self) -> bool:
        with contextlib.suppress(ConnectionClosed):
            answer = await self._socket.ping()

            def answered(it: asyncio.Future[float]) -> None:
                if not it.cancelled() and it.exception() is None:
                    self.answered_at = asyncio.get_running_loop().time()

            asyncio.ensure_future(answer).add_done_callback(answered)
        return True

    async def close(self) -> None:
        await super().close()
        await self._socket.close()


class EventStreamLink(Link):
    """An event stream over HTTP."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__()
        self._response = response
        self._pieces: AsyncIterator[bytes] = response.aiter_bytes()
        self._reader = Reader(MAX_FRAME_BYTES)
        self._blocks: deque[Block] = deque()

    async def next(self, seconds: float) -> Heard | None:
        return self._blocks.popleft() if self._blocks else await super().next(seconds)

    async def _read(self) -> Heard | None:
        """The next block, or an empty one for a sign of life."""
        try:
            async for piece in self._pieces:
                self._blocks.extend(self._reader.push(piece))
                return self._blocks.popleft() if self._blocks else Block(None, None, None)
        except TooLong:
            return lost("the server sent a line that is too long")
        except httpx.HTTPError as error:
            return lost(f"the event stream broke: {cause_of(error)}")
        return Finished()

    async def close(self) -> None:
        await super().close()
        await self._response.aclose()


async def open_websocket(server: Server, token: str | None, seconds: float) -> WebSocketLink:
    """Opens a WebSocket. Raises `NoConnection`."""
    try:
        socket = await connect(
            server.websocket,
            additional_headers=_authorization(token),
            subprotocols=[SUBPROTOCOL],
            open_timeout=seconds,
            close_timeout=1,
            # The server pings; its heartbeat is the sign of life.
            ping_interval=None,
            max_size=MAX_FRAME_BYTES,
            # A proxy that the environment names is for other machines.
            proxy=None if server.is_loopback else True,
        )
    except InvalidStatus as refused:
        raise _refused(refused.response.status_code, refused.response.body) from None
    except (TimeoutError, asyncio.TimeoutError):
        raise _no_answer(seconds) from None
    except (EOFError, InvalidMessage):
        why = "the server, or a proxy before it, ended the connection instead of answering the handshake"
        raise NoConnection(lost(why), reached=True) from None
    except OSError as error:
        raise NoConnection(lost(f"{server.host}: {cause_of(error)}"), reached=False) from None
    except InvalidHandshake as error:
        raise NoConnection(lost(f"the handshake failed: {error}"), reached=True) from None
    return WebSocketLink(socket)


def http_client(server: Server) -> httpx.AsyncClient:
    """What event streams are opened with. Making one takes long, for it reads the authorities of the system."""
    return httpx.AsyncClient(timeout=None, trust_env=not server.is_loopback)


async def open_event_stream(
    client: httpx.AsyncClient, server: Server, token: str | None, asked: SseRequest, seconds: float
) -> EventStreamLink:
    """Opens an event stream. Raises `NoConnection`."""
    headers = {"accept": "text/event-stream", "accept-encoding": "identity", "cache-control": "no-store"}
    headers.update(_authorization(token))
    if asked.last_event_id is not None:
        headers["last-event-id"] = asked.last_event_id
    url = f"{server.event_stream}?{asked.query}" if asked.query else server.event_stream
    try:
        response = await asyncio.wait_for(
            client.send(client.build_request("GET", url, headers=headers), stream=True), seconds
        )
        kind = response.headers.get("content-type", "")
        if response.status_code == 200 and kind.startswith("text/event-stream"):
            return EventStreamLink(response)
        try:
            body = await asyncio.wait_for(response.aread(), seconds)
        finally:
            await response.aclose()
    except (TimeoutError, asyncio.TimeoutError):
        raise _no_answer(seconds) from None
    except httpx.HTTPError as error:
        reached = not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))
        raise NoConnection(lost(f"{server.host}: {cause_of(error)}"), reached=reached) from None
    raise _refused(response.status_code, body)


def _authorization(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def _no_answer(seconds: float) -> NoConnection:
    # A proxy that knows no upgrades, or that collects an answer before it passes it on.
    why = f"no answer to the handshake within {seconds:g} s; a proxy on the way may hold it back"
    return NoConnection(lost(why, "silent"), reached=True)


def _refused(status: int, body: Any) -> NoConnection:
    return NoConnection(Ended(after_status(status), status, reason_of(status, body), "refused"), reached=True)


def cause_of(error: BaseException) -> str:
    """What was the cause of a failure to connect, without the names of classes."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {seen.verify_message}"
        if isinstance(seen, ConnectionRefusedError):
            return "connection refused; is the server running?"
        if isinstance(seen, sockets.gaierror):
            return f"the name cannot be resolved: {seen.strerror}"
        if isinstance(seen, ConnectionResetError):
            return "connection reset"
        if "Connect call failed" in str(seen):
            return "connection refused; is the server running?"
        seen = seen.__cause__ or seen.__context__
    return str(error) or f"no reason given ({type(error).__name__})"


def _end_of(closed: ConnectionClosed) -> Ended:
    if closed.rcvd is None:
        return lost("the connection broke without a close frame")
    code = int(closed.rcvd.code)
    return Ended(CLOSE_CODES.get(code, AfterClose.RECONNECT), code, closed.rcvd.reason, "closed")


def reason_of(status: int, body: Any) -> str:
    """What a refusal says, in the text of the server if it is ours (HTTP-02)."""
    said: object = None
    with contextlib.suppress(TypeError, ValueError):
        said = json.loads(body)
    error = said.get("error") if isinstance(said, Mapping) else None
    message = error.get("message") if isinstance(error, Mapping) else None
    if status == 426:
        said_too = f": {message}" if isinstance(message, str) else ""
        return f"a proxy before the server does not pass the header Upgrade on, which WebSockets need (426){said_too}"
    if isinstance(message, str):
        return message
    if status == 200:
        return "the answer is not an event stream of Eventwire"
    return f"status {status} with an answer that is not from an Eventwire server"
