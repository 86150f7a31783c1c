"""Listening over a WebSocket: one stream of items, over any number of connections.

The listener connects, subscribes, notices when the connection is gone, comes back with backoff, and resumes each target
where it stopped. What arrives twice is dropped; what will never arrive is reported as a gap. What decides all this
(`eventwire.session`, `eventwire.backoff`) does no I/O.

There is no task in the background: the socket is read when the application asks for the next item. An application that
is slow makes the server's flow control take over, and holds no more than a few frames.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections import deque
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.typing import Subprotocol

from ._address import Server
from .backoff import CLOSE_CODES, AfterClose, Backoff, Ended, Reconnect, Stop, after_status
from .publisher import AsyncTokenSource, token_of
from .session import (
    Checkpoint,
    Closed,
    Connected,
    Connecting,
    Farewell,
    HangUp,
    Item,
    Output,
    Reconnecting,
    Send,
    Session,
    TokenTaken,
    root_of,
)

SUBPROTOCOL = Subprotocol("eventwire.v1")
"""What canonical clients offer."""
CONNECT_SECONDS = 15.0
"""From the first byte to the welcome."""
MAX_FRAME_BYTES = 8 * 1024 * 1024
"""Largest frame that is read: an event of 1 MiB may grow when its numbers are written anew."""
ABNORMAL = 1006
"""Close code of a connection that ended without one (RFC 6455, section 7.4.1)."""


class Listener:
    """Receives targets, as an asynchronous iterator of items.

        async with Listener("http://127.0.0.1:4800", ["adw:29fb6a3e"]) as listener:
            async for item in listener:
                match item:
                    case AdwTextBlockEvent(data=data):
                        print(data.content)
                    case Gap(stream=stream, reason=reason):
                        print(f"load {stream} again: {reason}")

    The last item is `Closed`. One task iterates; others may call the methods.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:4800",
        targets: Iterable[str] = (),
        *,
        token: AsyncTokenSource = None,
        resume: Checkpoint | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        """A listener to `adw:<id>`, `room:<name>`, `session:<context>`, `user:<id>`, `global`, or `*` for all that an
        observer may see, from now on. `token` is an API key or a JWT, or a function that gets one: it is called before
        each connection whose token the server may refuse, at the start and after an expiry. `resume` goes on where
        another listener stopped."""
        if isinstance(targets, str):
            raise TypeError("targets is a list of texts, not one text")
        self._server = Server(url)
        self._source = token
        self._token: str | None = None
        self._needs_token = True
        self._session = Session([_target(to) for to in targets], resume or Checkpoint())
        self._reconnect = Reconnect(backoff or Backoff(), can_refresh=callable(token))
        self._items: deque[Item] = deque()
        # Commands that wait for the socket.
        self._unsent: deque[str] = deque()
        self._socket: ClientConnection | None = None
        self._is_connecting = False
        self._patience = CONNECT_SECONDS
        # When the present connection counts as dead unless something comes.
        self._silent_at = 0.0
        # Whether the application had something to do since the socket was read.
        self._was_busy = False
        self._retry_at: float | None = None
        self._closed = asyncio.Event()

    # The application's side -------------------------------------------------------------------------------------------

    def __aiter__(self) -> Listener:
        return self

    async def __anext__(self) -> Item:
        """The next item. May be cancelled, and asked again: nothing is lost by that."""
        while not self._items:
            if self._closed.is_set():
                raise StopAsyncIteration
            await self._step()
        self._was_busy = True
        return self._items.popleft()

    async def subscribe(self, *targets: str, since: int | None = None) -> None:
        """Receives targets, too, after the number `since`, else from now on. Holds over reconnects. A target that is
        refused comes as `TargetRefused`."""
        await self._do(self._session.subscribe({_target(to): since for to in targets}))

    async def unsubscribe(self, *targets: str) -> None:
        """No longer receives targets, now and after every reconnect."""
        await self._do(self._session.unsubscribe(targets))

    async def authenticate(self, token: str) -> None:
        """Goes on with another token, now and after every reconnect.

        Subscriptions are judged again; those that are lost come as `ConnectionUnsubscribedEvent`. A refused token comes
        as `ConnectionErrorEvent`, and the old one stays.
        """
        await self._do(self._session.authenticate(token.strip()))

    def checkpoint(self) -> Checkpoint:
        """How far everything has been handed out: keep it, and give it to a listener in another process as `resume`."""
        checkpoint = self._session.checkpoint()
        positions = dict(checkpoint.positions)
        for item in self._items:
            # Read, and not yet handed out.
            root, seq = root_of(getattr(item, "to", "")), getattr(item, "seq", None)
            for to in (root, "*"):
                if isinstance(seq, int) and to in positions:
                    positions[to] = min(positions[to], seq - 1)
        return Checkpoint(checkpoint.epoch, positions)

    async def close(self) -> None:
        """Ends the listener with a polite close. Its last item is `Closed` with code 1000."""
        if not self._closed.is_set():
            self._items.append(Closed(1000, "closed by the application"))
            await self._hang_up(is_last=True)

    async def __aenter__(self) -> Listener:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        await self.close()

    # The socket's side ------------------------------------------------------------------------------------------------

    # Nothing that was taken from the socket or the session may wait behind an `await`: whoever asks for items may be
    # cancelled there.

    async def _step(self) -> None:
        """One thing: a wait, a connection, or a frame."""
        if self._retry_at is not None:
            await self._wait(self._retry_at - time.monotonic())
            self._retry_at = None
        elif self._socket is not None:
            await self._flush()
            await self._read(self._socket)
        elif not self._is_connecting:
            self._is_connecting = True
            self._items.append(Connecting())
        else:
            await self._connect()

    async def _wait(self, seconds: float) -> None:
        """Waits, unless the listener is closed meanwhile."""
        with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
            await asyncio.wait_for(self._closed.wait(), max(seconds, 0.0))

    async def _read(self, socket: ClientConnection) -> None:
        now = time.monotonic()
        if self._was_busy:
            # An application that takes nothing is not a server that says nothing.
            self._was_busy = False
            self._silent_at = max(self._silent_at, now + self._patience)
        try:
            text = await asyncio.wait_for(socket.recv(), max(self._silent_at - now, 0.0))
        except (asyncio.TimeoutError, TimeoutError):
            await self._ended(_lost("the server fell silent"))
        except ConnectionClosed as closed:
            await self._ended(_end_of(closed))
        else:
            self._silent_at = time.monotonic() + self._patience
            if isinstance(text, str):
                await self._do(self._session.receive(text))
            else:
                await self._ended(_lost("the server sent a binary frame"))

    async def _connect(self) -> None:
        if self._needs_token:
            self._token = await token_of(self._source)
            self._needs_token = False
        headers = {} if self._token is None else {"Authorization": f"Bearer {self._token}"}
        try:
            socket = await connect(
                self._server.websocket,
                additional_headers=headers,
                subprotocols=[SUBPROTOCOL],
                open_timeout=CONNECT_SECONDS,
                close_timeout=1,
                # The server pings; its heartbeat tells us that it is there.
                ping_interval=None,
                max_size=MAX_FRAME_BYTES,
                # A proxy that the environment names is for other machines.
                proxy=None if self._server.is_loopback else True,
            )
        except InvalidStatus as refused:
            status = refused.response.status_code
            await self._ended(Ended(after_status(status), status, _reason(status, refused.response.body)))
            return
        except (OSError, TimeoutError, asyncio.TimeoutError, EOFError, InvalidMessage) as error:
            await self._ended(_lost(str(error) or type(error).__name__))
            return
        except InvalidHandshake as error:
            await self._ended(Ended(AfterClose.RECONNECT, ABNORMAL, str(error)))
            return
        self._is_connecting = False
        self._socket = socket
        if self._closed.is_set():
            await self._hang_up(is_last=True)
        self._patience = CONNECT_SECONDS
        self._silent_at = time.monotonic() + CONNECT_SECONDS

    async def _do(self, outputs: list[Output]) -> None:
        """Hands out items and sends what is to be sent."""
        useless: str | None = None
        for output in outputs:
            if isinstance(output, Send):
                self._unsent.append(output.text)
            elif isinstance(output, Farewell):
                self._reconnect.announced(output.return_after_seconds)
            elif isinstance(output, HangUp):
                useless = output.reason
            elif isinstance(output, TokenTaken):
                self._token, self._needs_token = output.token, False
            else:
                if isinstance(output, Connected):
                    self._reconnect.connected(time.monotonic())
                    # Two heartbeats may be late; then nobody is there.
                    self._patience = 2 * output.welcome.heartbeat_interval_ms / 1000 + CONNECT_SECONDS
                    self._silent_at = time.monotonic() + self._patience
                self._items.append(output)
        if useless is None:
            await self._flush()
        else:
            await self._ended(_lost(useless))

    async def _flush(self) -> None:
        # A connection that is gone says so when it is read, after what is still to be read.
        with contextlib.suppress(ConnectionClosed):
            while self._unsent and self._socket is not None:
                await self._socket.send(self._unsent.popleft())

    async def _ended(self, ended: Ended) -> None:
        """A connection, or the attempt to make one, has ended."""
        self._is_connecting = False
        self._session.disconnected()
        if self._closed.is_set():
            return
        decided = self._reconnect.after(ended, time.monotonic(), random.random())
        if isinstance(decided, Stop):
            self._items.append(Closed(decided.code, decided.reason))
        else:
            self._needs_token = self._needs_token or decided.refresh_token
            self._retry_at = time.monotonic() + decided.after_seconds
            self._items.append(Reconnecting(decided.attempt, decided.after_seconds, ended.code, ended.reason))
        await self._hang_up(is_last=isinstance(decided, Stop))

    async def _hang_up(self, *, is_last: bool) -> None:
        if is_last:
            self._closed.set()
        socket, self._socket = self._socket, None
        self._unsent.clear()
        if socket is not None:
            await socket.close()


def _target(to: str) -> str:
    kind, colon, name = to.partition(":")
    if to in ("global", "*") or (colon and name and kind in ("adw", "room", "session", "user")):
        if not to.startswith("session:~"):
            return to
        raise ValueError(f"{to!r} is a browser session, which is joined by its cookie and not by its name")
    raise ValueError(f"{to!r} is no target: adw:<id>, room:<name>, session:<id>, user:<id>, global or *")


def _lost(why: str) -> Ended:
    return Ended(AfterClose.RECONNECT, ABNORMAL, why)


def _end_of(closed: ConnectionClosed) -> Ended:
    if closed.rcvd is None:
        return _lost(str(closed))
    code = int(closed.rcvd.code)
    return Ended(CLOSE_CODES.get(code, AfterClose.RECONNECT), code, closed.rcvd.reason)


def _reason(status: int, body: Any) -> str:
    try:
        said = json.loads(body)
    except (TypeError, ValueError):
        return f"status {status}"
    error = said.get("error") if isinstance(said, Mapping) else None
    message = error.get("message") if isinstance(error, Mapping) else None
    return message if isinstance(message, str) else f"status {status}"
