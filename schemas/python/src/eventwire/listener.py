"""Listening: one stream of items, over any number of connections.

The listener connects over a WebSocket, or over server-sent events where that is refused; subscribes, notices when the
connection is gone, comes back with backoff, and resumes each target where it stopped. What arrives twice is dropped;
what will never arrive is reported as a gap. What decides all this (`eventwire.session`, `eventwire.backoff`,
`eventwire.transport`) does no I/O.

The connection is read when the application asks for the next item. An application that is slow makes the server's flow
control take over, and holds no more than a few frames.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TypeAlias

import httpx

from ._address import Server
from ._awake import Awake
from ._event_stream import Block
from ._link import (
    ABNORMAL,
    MAX_FRAME_BYTES,
    SUBPROTOCOL,
    Finished,
    Link,
    NoConnection,
    WebSocketLink,
    http_client,
    lost,
    open_event_stream,
    open_websocket,
)
from .backoff import CLOSE_CODES, AfterClose, Backoff, Ended, Reconnect, Stop
from .publisher import AsyncTokenSource, stripped, token_of
from .session import (
    REALM,
    Checkpoint,
    Closed,
    Connected,
    Connecting,
    Farewell,
    Gap,
    HangUp,
    Item,
    Output,
    Reconnecting,
    Reopen,
    Send,
    Session,
    Target,
    TargetRefused,
    TokenTaken,
    Unreadable,
    WillClose,
    root_of,
)
from .transport import Choice, Fallback, Transport

__all__ = ["ABNORMAL", "MAX_FRAME_BYTES", "SUBPROTOCOL", "Listener", "TargetItems"]

CONNECT_SECONDS = 15.0
"""From the first byte to the welcome."""
SSE_SILENCE_SECONDS = 45.0
"""Silence on an event stream: three of its comments (SSE-06)."""
PROBE_SECONDS = 10.0
"""How long the answer to a probe of the line is waited for."""
SLICE_SECONDS = 5.0
"""A wait is looked at so often."""
SCOPE_ITEMS = 1_000
"""Most items that wait for the reader of one target; beyond that nothing more is read from the connection."""

Targets: TypeAlias = "Iterable[str | Target] | Mapping[str, int | None]"
"""Targets by name; or each with the number after which it is read, as `Target` or in a mapping."""


class TargetItems:
    """The items of one target, as an asynchronous iterator: its events, its gaps, its refusal, and every state of the
    connection. Made by `Listener.target`."""

    def __init__(self, listener: Listener, to: str) -> None:
        self._listener = listener
        self._items: deque[Item] = deque()
        self.to = to
        """The target."""

    def __aiter__(self) -> TargetItems:
        return self

    async def __anext__(self) -> Item:
        """The next item. May be cancelled, and asked again: nothing is lost by that."""
        return await self._listener._next(self._items)

    async def close(self) -> None:
        """No longer receives the target, unless another iterator reads it."""
        await self._listener._close_scope(self)

    async def __aenter__(self) -> TargetItems:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        await self.close()


class Listener:
    """Receives targets, as an asynchronous iterator of items.

        async with Listener("http://127.0.0.1:4800", ["adw:29fb6a3e"]) as listener:
            async for item in listener:
                match item:
                    case AdwTextBlockEvent(data=data):
                        print(data.content)
                    case Gap(stream=stream, reason=reason):
                        print(f"load {stream} again: {reason}")

    The last item is `Closed`. One task iterates; others may call the methods. Where several tasks each read one target,
    each takes its own iterator from `target`.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:4800",
        targets: Targets = (),
        *,
        token: AsyncTokenSource = None,
        resume: Checkpoint | None = None,
        backoff: Backoff | None = None,
        transports: Iterable[Transport] = (Transport.WEBSOCKET, Transport.SSE),
        fallback: Fallback | None = None,
    ) -> None:
        """A listener to `adw:<id>`, `room:<name>`, `session:<context>`, `user:<id>`, `global`, or `*` for all that an
        observer may see, from now on or from where each `Target` says. `token` is an API key or a JWT, or a function
        that gets one: it is called before each connection whose token the server may refuse, at the start and after an
        expiry. `resume` goes on where another listener stopped. `transports` are tried in this order; `fallback` says
        when the next one is taken."""
        if isinstance(targets, str):
            raise TypeError("targets is a list of texts, not one text")
        self._server = Server(url)
        if not callable(token):
            stripped(token)
        self._source = token
        self._token: str | None = None
        self._needs_token = True
        wanted = _targets(targets)
        self._session = Session(wanted, resume or Checkpoint())
        self._session.subscribe({to: since for to, since in wanted.items() if since is not None})
        self._reconnect = Reconnect(backoff or Backoff(), can_refresh=callable(token))
        self._choice = Choice(transports, fallback or Fallback())
        self._clock: Callable[[], float] = time.monotonic
        self._wall: Callable[[], float] = time.time
        self._awake = Awake()
        self._items: deque[Item] = deque()
        self._scopes: list[TargetItems] = []
        # Targets that the listener's own iteration is for, and whether it has begun.
        self._own = {*wanted, *(resume.positions if resume is not None else ())}
        self._is_iterated = False
        # Held by the task that moves the connection on.
        self._driver = asyncio.Lock()
        self._taken = asyncio.Event()
        # Commands that wait for the connection.
        self._unsent: deque[str] = deque()
        self._link: Link | None = None
        # A connection over a better transport, opened beside the present one.
        self._trying: asyncio.Task[WebSocketLink] | None = None
        self._opened: WebSocketLink | None = None
        self._http: httpx.AsyncClient | None = None
        self._over = Transport.WEBSOCKET
        self._is_connecting = False
        self._is_welcomed = False
        self._farewell_said = False
        # How the server said that this event stream will end.
        self._announced: Ended | None = None
        # The last `retry:` of this event stream.
        self._return_after: float | None = None
        self._patience = CONNECT_SECONDS
        # When the present connection counts as dead unless something comes.
        self._silent_at = 0.0
        # Whether the application had something to do since the connection was read.
        self._was_busy = False
        self._retry_at: float | None = None
        self._closed = asyncio.Event()

    # The application's side -------------------------------------------------------------------------------------------

    def __aiter__(self) -> Listener:
        self._is_iterated = True
        return self

    async def __anext__(self) -> Item:
        """The next item. May be cancelled, and asked again: nothing is lost by that."""
        self._is_iterated = True
        return await self._next(self._items)

    async def _next(self, queue: deque[Item]) -> Item:
        while not queue:
            if self._closed.is_set():
                raise StopAsyncIteration
            if self._session.wait(self._clock()) == 0:
                await self._changed()
            async with self._driver:
                # Another task may have moved on meanwhile.
                if not queue and not self._closed.is_set():
                    await self._make_room(queue)
                    await self._step()
        self._was_busy = True
        self._taken.set()
        return queue.popleft()

    async def _make_room(self, own: deque[Item]) -> None:
        """Waits for the readers of other targets, of whom one is far behind."""
        while any(queue is not own and len(queue) >= SCOPE_ITEMS for queue in self._queues()):
            self._taken.clear()
            await self._taken.wait()

    def target(self, to: str, since: int | None = None) -> TargetItems:
        """Receives a target with an iterator of its own: events, gaps and the refusal of this target, and the states of
        the connection. They do not come to the listener's own iteration. `since` is the number after which it begins.

        Several tasks may each iterate over one of these. At most 1,000 items wait for each; a task that takes nothing
        holds up the others then.
        """
        scope = TargetItems(self, _target(to))
        self._scopes.append(scope)
        self._session.subscribe({scope.to: since})
        return scope

    async def _close_scope(self, scope: TargetItems) -> None:
        if scope in self._scopes:
            self._scopes.remove(scope)
            self._taken.set()
            if not any(other.to == scope.to for other in self._scopes):
                await self.unsubscribe(scope.to)

    async def subscribe(self, *targets: str, since: int | None = None) -> None:
        """Receives targets, too, after the number `since`, else from now on. Holds over reconnects. A target that is
        refused comes as `TargetRefused`.

        What is asked for in one turn of the event loop is sent as one command, and no faster than the server allows."""
        self._session.subscribe({_target(to): since for to in targets})
        self._own.update(targets)
        await self._changed()

    async def unsubscribe(self, *targets: str) -> None:
        """No longer receives targets, now and after every reconnect."""
        self._session.unsubscribe(targets)
        self._own.difference_update(targets)
        await self._changed()

    async def authenticate(self, token: str) -> None:
        """Goes on with another token, now and after every reconnect.

        Subscriptions are judged again; those that are lost come as `ConnectionUnsubscribedEvent`. A refused token comes
        as `ConnectionErrorEvent`, and the old one stays. Over server-sent events the stream is opened again with it.
        """
        outputs = self._session.authenticate(stripped(token) or "")
        await self._do(outputs)
        await self._changed()

    async def _changed(self) -> None:
        # What others change in this turn of the event loop goes with it.
        await asyncio.sleep(0)
        await self._do(self._session.flush(self._clock()))

    def checkpoint(self) -> Checkpoint:
        """How far everything has been handed out: keep it, and give it to a listener in another process as `resume`."""
        checkpoint = self._session.checkpoint()
        positions = dict(checkpoint.positions)
        for item in (item for queue in self._queues() for item in queue):
            # Read, and not yet handed out.
            root, seq = root_of(getattr(item, "to", "")), getattr(item, "seq", None)
            for to in (root, "*"):
                if isinstance(seq, int) and to in positions:
                    positions[to] = min(positions[to], seq - 1)
        return Checkpoint(checkpoint.epoch, positions)

    async def close(self) -> None:
        """Ends the listener with a polite close. Its last item is `Closed` with code 1000."""
        if not self._closed.is_set():
            self._hand_out(Closed(1000, "closed by the application"))
            await self._hang_up(is_last=True)

    async def __aenter__(self) -> Listener:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        await self.close()

    # Items ------------------------------------------------------------------------------------------------------------

    def _queues(self) -> list[deque[Item]]:
        return [self._items, *(scope._items for scope in self._scopes)]

    def _hand_out(self, item: Item) -> None:
        """To the iterators of the target that it concerns, or else to the listener's own."""
        target = _concerns(item)
        if target is REALM:
            scopes, is_rest = self._scopes, True
        else:
            scopes = [scope for scope in self._scopes if scope.to == target]
            is_rest = not scopes
        for scope in scopes:
            scope._items.append(item)
        if is_rest and (self._is_iterated or self._own or not self._scopes):
            self._items.append(item)

    # The connection's side --------------------------------------------------------------------------------------------

    # Nothing that was taken from the connection or the session may wait behind an `await`: a task that asks for items
    # may be cancelled there.

    async def _step(self) -> None:
        """One thing: a wait, a connection, or a frame."""
        if self._retry_at is not None:
            await self._wait(self._retry_at)
            self._retry_at = None
        elif self._link is not None:
            await self._flush()
            if self._link is not None:
                await self._read(self._link)
        elif not self._is_connecting:
            self._is_connecting = True
            self._over = self._choice.next(self._clock())
            self._hand_out(Connecting(self._over))
        else:
            await self._connect()

    async def _wait(self, until: float) -> None:
        """Waits, unless the listener is closed meanwhile, or the machine slept: then the server may be there again."""
        self._awake.forget()
        while (left := until - self._clock()) > 0 and not self._closed.is_set():
            if self._awake.slept(self._clock(), self._wall(), SLICE_SECONDS):
                return
            with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
                await asyncio.wait_for(self._closed.wait(), min(left, SLICE_SECONDS))

    async def _read(self, link: Link) -> None:
        now = self._clock()
        planned = SLICE_SECONDS
        if self._was_busy:
            # An application that takes nothing is not a server that says nothing.
            self._was_busy = False
            self._silent_at = max(self._silent_at, now + self._patience)
            planned = math.inf
        if self._awake.slept(now, self._wall(), planned):
            # The connection may have gone while this machine slept, and clocks may have paused.
            if not await link.probe():
                await self._reopen()
                return
            self._silent_at = min(self._silent_at, now + PROBE_SECONDS)
        if await self._try_better(now):
            return
        waits = [self._silent_at - now, SLICE_SECONDS, self._session.wait(now)]
        heard = await link.next(min(wait for wait in waits if wait is not None))
        if self._link is not link:
            # Closed by another task meanwhile.
            return
        now = self._clock()
        if heard is None:
            if link.answered_at is not None:
                self._silent_at, link.answered_at = link.answered_at + self._patience, None
            if now >= self._silent_at:
                await self._ended(self._silence())
            else:
                await self._do(self._session.flush(now))
            return
        self._silent_at = now + self._patience
        if isinstance(heard, str):
            await self._do(self._session.receive(heard))
        elif isinstance(heard, Block):
            outputs = [] if heard.data is None else self._session.receive(heard.data)
            if heard.id is not None:
                self._session.passed(heard.id)
            if heard.retry is not None:
                self._return_after = heard.retry / 1000
            await self._do(outputs)
        elif isinstance(heard, Finished):
            if self._return_after is not None and not self._is_welcomed and not self._farewell_said:
                # A server that can take no more answers with when to come again.
                self._reconnect.announced(self._return_after)
            await self._ended(self._announced or lost("the server ended the event stream"))
        else:
            await self._ended(self._announced or heard)

    def _silence(self) -> Ended:
        if self._is_welcomed:
            return lost(f"the connection is open, but nothing arrived for {self._patience:g} s", "silent")
        why = f"the connection is open, but nothing arrived within {self._patience:g} s of its opening"
        return lost(f"{why}; a proxy on the way may hold it back", "silent")

    async def _try_better(self, now: float) -> bool:
        """Tries a better transport beside the present connection; returns whether that takes its place."""
        return_at = self._choice.return_at()
        if self._trying is None:
            if return_at is None or return_at > now or not self._is_welcomed:
                return False
            if self._choice.preferred is not Transport.WEBSOCKET:
                await self._reopen()
                return True
            self._trying = asyncio.ensure_future(open_websocket(self._server, self._token, CONNECT_SECONDS))
            return False
        if not self._trying.done():
            return False
        trying, self._trying = self._trying, None
        if trying.cancelled() or trying.exception() is not None:
            self._choice.returned(False, now)
            return False
        self._choice.returned(True, now)
        self._opened = trying.result()
        await self._reopen()
        return True

    async def _connect(self) -> None:
        if self._needs_token:
            self._token = await token_of(self._source)
            self._needs_token = False
        try:
            if self._opened is not None:
                self._session.over_websocket()
                link: Link = self._opened
                self._opened = None
            elif self._over is Transport.WEBSOCKET:
                self._session.over_websocket()
                link = await open_websocket(self._server, self._token, CONNECT_SECONDS)
            else:
                asked = self._session.over_sse()
                self._http = self._http or http_client(self._server)
                link = await open_event_stream(self._http, self._server, self._token, asked, CONNECT_SECONDS)
        except NoConnection as no:
            await self._ended(no.ended, reached=no.reached)
            return
        self._is_connecting = False
        self._is_welcomed = self._farewell_said = False
        self._announced = self._return_after = None
        self._link = link
        if self._closed.is_set():
            await self._hang_up(is_last=True)
        self._patience = CONNECT_SECONDS
        self._silent_at = self._clock() + CONNECT_SECONDS
        self._awake.forget()

    async def _do(self, outputs: list[Output]) -> None:
        """Hands out items and sends what is to be sent."""
        useless: str | None = None
        reopens = False
        for output in outputs:
            if isinstance(output, Send):
                self._unsent.append(output.text)
            elif isinstance(output, Farewell):
                self._farewell_said = True
                self._reconnect.announced(output.return_after_seconds)
            elif isinstance(output, WillClose):
                after = CLOSE_CODES.get(output.code, AfterClose.RECONNECT)
                self._announced = Ended(after, output.code, output.reason, "closed")
            elif isinstance(output, HangUp):
                useless = output.reason
            elif isinstance(output, Reopen):
                reopens = True
            elif isinstance(output, TokenTaken):
                self._token, self._needs_token = output.token, False
            else:
                if isinstance(output, Connected):
                    self._welcomed(output)
                elif _is_delivery(output):
                    self._reconnect.delivered()
                self._hand_out(output)
        if useless is not None:
            await self._ended(lost(useless))
        elif reopens:
            await self._reopen()
        else:
            await self._flush()

    def _welcomed(self, connected: Connected) -> None:
        now = self._clock()
        self._is_welcomed = True
        self._reconnect.connected(now)
        self._choice.welcomed()
        # Two heartbeats may be late; then the server is gone.
        usual = 2 * connected.welcome.heartbeat_interval_ms / 1000 + CONNECT_SECONDS
        self._patience = usual if self._session.over is Transport.WEBSOCKET else SSE_SILENCE_SECONDS
        self._silent_at = now + self._patience

    async def _flush(self) -> None:
        while self._unsent and self._link is not None:
            await self._link.send(self._unsent.popleft())

    async def _reopen(self) -> None:
        """Another connection takes the place of this one at once."""
        self._session.disconnected()
        self._is_connecting = False
        await self._hang_up(is_last=False)

    async def _ended(self, ended: Ended, *, reached: bool = True) -> None:
        """A connection, or the attempt to make one, has ended."""
        self._is_connecting = False
        self._session.disconnected()
        if self._closed.is_set():
            return
        now = self._clock()
        was_welcomed, self._is_welcomed = self._is_welcomed, False
        moved = not was_welcomed and self._choice.failed(ended, now, reached=reached)
        decided = self._reconnect.after(ended, now, random.random(), differs=moved)
        if isinstance(decided, Stop):
            self._hand_out(Closed(decided.code, decided.reason))
        else:
            self._needs_token = self._needs_token or decided.refresh_token
            self._retry_at = now + decided.after_seconds
            following = self._choice.next(self._retry_at)
            self._hand_out(
                Reconnecting(decided.attempt, decided.after_seconds, ended.code, ended.reason, ended.cause, following)
            )
        await self._hang_up(is_last=isinstance(decided, Stop))

    async def _hang_up(self, *, is_last: bool) -> None:
        link, self._link = self._link, None
        self._unsent.clear()
        trying, self._trying = self._trying, None
        opened = None
        if is_last:
            self._closed.set()
            self._taken.set()
            opened, self._opened = self._opened, None
        if trying is not None and not trying.done():
            trying.cancel()
        for it in (link, opened):
            if it is not None:
                await it.close()
        if is_last and self._http is not None:
            http, self._http = self._http, None
            await http.aclose()


def _concerns(item: Item) -> str | None:
    """The target that an item is about; `REALM` where it is about every one, and `None` where it is about none."""
    if isinstance(item, (Connecting, Connected, Reconnecting, Closed)):
        return REALM
    if isinstance(item, TargetRefused):
        return item.to
    if isinstance(item, Gap):
        return REALM if item.stream == REALM else root_of(item.stream)
    if isinstance(item, Unreadable):
        return None
    root = root_of(item.to)
    if root is not None:
        return root
    # Of this connection: what is said about one target.
    stream = getattr(item.data, "stream", None)
    return root_of(stream) if isinstance(stream, str) else None


def _is_delivery(output: Output) -> bool:
    kind = getattr(output, "type", None)
    return isinstance(kind, str) and not kind.startswith("connection.")


def _targets(targets: Targets) -> dict[str, int | None]:
    if isinstance(targets, Mapping):
        return {_target(to): since for to, since in targets.items()}
    given = [it if isinstance(it, Target) else Target(it) for it in targets]
    return {_target(it.to): it.since for it in given}


def _target(to: str) -> str:
    kind, colon, name = to.partition(":")
    if to in ("global", "*") or (colon and name and kind in ("adw", "room", "session", "user")):
        if not to.startswith("session:~"):
            return to
        raise ValueError(f"{to!r} is a browser session, which is joined by its cookie and not by its name")
    raise ValueError(f"{to!r} is no target: adw:<id>, room:<name>, session:<id>, user:<id>, global or *")
