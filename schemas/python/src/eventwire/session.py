"""What a listener remembers over all of its connections: which targets it wants and how far it has read each of them.

No socket, no clock, no randomness: text goes in, text and items come out. A position belongs to a root (an audience
with all its parts), because the frames of a root come in the order of their numbers. That one number is enough to
resume, and everything at or below it is a duplicate. Holes are looked for in each exact stream, since `prev` chains the
frames of one stream: a `prev` above the last number seen there names something that never came (LOG-02).

The positions are the same whatever carries the frames. A WebSocket gets them in a `subscribe`; an event stream over
HTTP is opened with its targets in the query and its positions as a cursor (SSE-08), and opened again for other targets.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, TypeAlias

from ._pace import Pace
from .backoff import Cause
from .events import parse_incoming
from .models import (
    ConnectionClosingEvent,
    ConnectionErrorEvent,
    ConnectionGapEvent,
    ConnectionHeartbeatEvent,
    ConnectionPongEvent,
    ConnectionRecoveredEvent,
    ConnectionReplayingEvent,
    ConnectionReplyEvent,
    ConnectionSubscribedEvent,
    ConnectionUnsubscribedEvent,
    ConnectionWelcomeData,
    ConnectionWelcomeEvent,
    Event,
    UnknownEvent,
)
from .transport import Transport

MAX_SUBSCRIPTIONS = 256
"""Most targets in one command (CMD)."""
MAX_STREAMS = 4_096
"""Most streams whose last number is kept for finding holes. An observer of a large realm forgets the quietest."""
REALM = "*"
"""The target that means everything an observer may see."""

GapReason: TypeAlias = Literal["expired", "slow_consumer", "epoch_changed", "hole"]
"""Why events will not come.

- `expired`: they were older than the history keeps.
- `slow_consumer`: this client read so slowly that the history dropped them first.
- `epoch_changed`: the history is another one than before, for instance because the server was restarted. What the new
  one holds follows.
- `hole`: the numbers say that something was sent which never arrived. The client noticed; the server did not say so.
"""


@dataclass(frozen=True)
class Gap:
    """Events that will not come. Load the present state from where it is kept."""

    stream: str
    """The target or stream that they are missing from."""
    reason: GapReason
    from_seq: int | None = None
    """First number that may be missing, if the history is still the same."""
    to_seq: int | None = None
    """Last number that may be missing, if the history is still the same."""


@dataclass(frozen=True)
class TargetRefused:
    """A target could not be subscribed (again) and is no longer wanted."""

    to: str
    code: str
    message: str


@dataclass(frozen=True)
class Unreadable:
    """A frame that this version cannot read. It counts as read; the ones behind it are not held up."""

    error: str
    text: str


@dataclass(frozen=True)
class Connecting:
    """A connection is being made."""

    over: Transport = Transport.WEBSOCKET
    """What will carry it."""


@dataclass(frozen=True)
class Connected:
    """The server has said welcome; the wanted targets are being subscribed."""

    welcome: ConnectionWelcomeData


@dataclass(frozen=True)
class Reconnecting:
    """The connection is gone, another attempt follows."""

    attempt: int
    """How many attempts in a row this makes, from 1."""
    after_seconds: float
    """When it starts."""
    code: int
    """The close code, the HTTP status of a refused handshake, or 1006 when the connection just broke."""
    reason: str
    """What was the cause, in one line."""
    cause: Cause = "lost"
    """The kind of cause. `silent`: the connection is open, and nothing arrives on it."""
    over: Transport = Transport.WEBSOCKET
    """What the next attempt is made over."""


@dataclass(frozen=True)
class Closed:
    """The end: no further attempt is made. The last item of every listener."""

    code: int
    """The close code, or the HTTP status of a refused handshake; 1000 when the application ended it."""
    reason: str


State: TypeAlias = Connecting | Connected | Reconnecting | Closed
"""Where the connection stands."""

Item: TypeAlias = Event | UnknownEvent | Gap | TargetRefused | Unreadable | State
"""What a listener hands out. Of the `connection` family only what concerns the application: `replaying`, `recovered`,
`closing`, and errors."""


@dataclass(frozen=True)
class Target:
    """A target, and from where it is read."""

    to: str
    since: int | None = None
    """The number after which it begins; 0 is the oldest event that is kept. `None`: from now on, or from where it is
    read already."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything needed to go on in another process: keep it, and hand it to the next listener."""

    epoch: str | None = None
    """The history that the positions belong to."""
    positions: Mapping[str, int] = field(default_factory=dict)
    """How far each wanted target has been read."""

    def to_json(self) -> str:
        """As JSON text."""
        return json.dumps({"epoch": self.epoch, "positions": dict(self.positions)})

    @classmethod
    def from_json(cls, text: str) -> Checkpoint:
        """From what `to_json` gave. Raises `ValueError` when it is something else."""
        read = json.loads(text)
        if not isinstance(read, dict) or not isinstance(read.get("positions"), dict):
            raise ValueError("a checkpoint is an object with epoch and positions")
        return cls(read.get("epoch"), read["positions"])


# What the shell does next ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Send:
    """Send this text frame."""

    text: str


@dataclass(frozen=True)
class Farewell:
    """The server announced the end of this connection: come back after so long, or, with `None`, not at all."""

    return_after_seconds: float | None


@dataclass(frozen=True)
class HangUp:
    """This connection is of no use: end it, and connect again after a while."""

    reason: str


@dataclass(frozen=True)
class TokenTaken:
    """The server goes on with this token; use it for the next connection, too."""

    token: str


@dataclass(frozen=True)
class WillClose:
    """The end of this event stream will be one with this close code (AUTH-11)."""

    code: int
    reason: str


@dataclass(frozen=True)
class Reopen:
    """This event stream was opened for other targets than are wanted now: open another one at once."""


@dataclass(frozen=True)
class SseRequest:
    """How an event stream over HTTP is opened."""

    query: str
    """Without its question mark; may be empty."""
    last_event_id: str | None
    """The header `Last-Event-ID`, where there is something to resume."""


Output: TypeAlias = Item | Send | WillClose | Reopen | Farewell | HangUp | TokenTaken


class _Interest(Enum):
    WANTED = "the application asked for it"
    IMPLIED = "everybody receives it; subscribed as well so that it resumes"
    SEEN = "frames came although nobody asked"


@dataclass
class _Reading:
    interest: _Interest
    # Unknown until `subscribed` has said where the target stands.
    position: int | None = None
    # Between `replaying` and `recovered`.
    replaying: bool = False
    # Asked to be resumed on this connection, and not answered yet. What comes before the answer comes again in the
    # replay, in its order; counted now, it would hide what lies before it.
    resuming: bool = False
    # What the last heartbeat of this connection said, since it was subscribed or replayed.
    heard: int | None = None


@dataclass
class _Change:
    """A change of what is wanted that the server does not know yet."""

    is_wanted: bool
    since: int | None = None
    # What was read of a target that is no longer wanted: wanted again before that was sent, it goes on there.
    before: _Reading | None = None


@dataclass(frozen=True)
class _Command:
    """A command of this connection that is unanswered."""

    kind: str
    targets: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True)
class _Cursor:
    """The positions of an event stream (SSE-08)."""

    epoch: str
    low: int
    others: Mapping[str, int]

    @classmethod
    def parse(cls, text: str) -> _Cursor | None:
        head, *others = text.split(",")
        epoch, dash, low = head.partition("-")
        pairs = [it.rpartition("=") for it in others]
        if not dash or not all(number.isascii() and number.isdigit() for number in [low, *(it[2] for it in pairs)]):
            return None
        return cls(epoch, int(low), {to: int(number) for to, _, number in pairs})

    def position(self, to: str) -> int:
        return self.others.get(to, self.low)

    def __str__(self) -> str:
        return ",".join([f"{self.epoch}-{self.low}", *(f"{to}={at}" for to, at in sorted(self.others.items()))])


def _is_in_query(to: str) -> bool:
    """Whether the query of an event stream names a target. One's own user and `global` come without."""
    return to == REALM or to.partition(":")[0] in ("adw", "room", "session")


def root_of(audience: str) -> str | None:
    """What one subscribes to in order to receive an audience. `None` for a connection, which has no stream."""
    return None if audience.startswith("connection:") else audience.split("/", 1)[0]


class Session:
    """See the module."""

    def __init__(self, targets: Iterable[str], checkpoint: Checkpoint) -> None:
        self._connected = False
        self._epoch = checkpoint.epoch
        self._readings = {to: _Reading(_Interest.WANTED, at) for to, at in checkpoint.positions.items()}
        for to in targets:
            self._readings.setdefault(to, _Reading(_Interest.WANTED))
        self._streams: dict[str, int] = {}
        # Targets whose position the application set while there was no connection.
        self._asked: dict[str, int] = {}
        # What the server does not know yet, and what it was asked for on this connection.
        self._changes: dict[str, _Change] = {}
        self._served: set[str] = set()
        self._new_tokens: deque[str] = deque()
        self._pending: dict[str, _Command] = {}
        self._resumes: set[str] = set()
        self._tokens: dict[str, str] = {}
        self._last_id = 0
        self._pace: Pace | None = None
        # The server asked to wait so long; the next flush knows from when.
        self._pause: float | None = None
        # What carries the present connection, or the attempt.
        self._over = Transport.WEBSOCKET
        # The present event stream was opened before its targets changed, or before its epoch was known.
        self._stale = False
        # Targets whose other history was reported on this connection by us; the server reports it as well.
        self._reported: set[str] = set()
        # Wanted targets that the present event stream cannot carry.
        self._uncarried: set[str] = set()
        # Where an event stream began that was cut off before its welcome: what comes without asking begins there.
        self._began: int | None = None

    @property
    def over(self) -> Transport:
        """What carries the present connection, or the last attempt."""
        return self._over

    def checkpoint(self) -> Checkpoint:
        """How far everything wanted has been read."""
        positions = {
            to: reading.position
            for to, reading in self._readings.items()
            if reading.interest is not _Interest.SEEN and reading.position is not None
        }
        return Checkpoint(self._epoch, positions)

    # Commands ---------------------------------------------------------------------------------------------------------

    # What changes between two calls of `flush` is sent as one command. Commands that the limits of the connection do
    # not allow yet wait, and what changes meanwhile is sent with them.

    def subscribe(self, targets: Mapping[str, int | None]) -> None:
        """Wants targets, from these positions on; without a position from now on, or from where it already reads."""
        for to, since in targets.items():
            change = self._changes.pop(to, None)
            reading = self._readings.get(to)
            if change is not None and change.before is not None and since is None:
                # Not sent yet: the server never stopped.
                resumed = change.before
                if reading is not None and reading.position is not None:
                    resumed.position = max(resumed.position or 0, reading.position)
                reading = self._readings[to] = resumed
            if reading is None:
                reading = self._readings[to] = _Reading(_Interest.WANTED)
            reading.interest = _Interest.WANTED
            if not self._connected or self._over is Transport.SSE:
                if since is not None:
                    self._asked[to] = since
                self._stale = self._stale or self._over is Transport.SSE
                continue
            if since is None and change is not None and change.is_wanted:
                since = change.since
            if since is not None or to not in self._served:
                self._changes[to] = _Change(True, since)

    def unsubscribe(self, targets: Iterable[str]) -> None:
        """No longer wants targets."""
        for to in targets:
            self._changes.pop(to, None)
            self._asked.pop(to, None)
            before = self._readings.get(to)
            self._forget(to)
            if self._over is Transport.SSE:
                # What is for everyone comes whether it is wanted or not.
                self._stale = self._stale or _is_in_query(to)
            elif self._connected and to in self._served:
                self._changes[to] = _Change(False, before=before)

    def authenticate(self, token: str) -> list[Output]:
        """Goes on with another token. When refused over a WebSocket, the old one stays."""
        if not self._connected:
            return [TokenTaken(token)]
        if self._over is Transport.SSE:
            # An event stream is shown a token only when it is opened.
            self._stale = True
            return [TokenTaken(token)]
        self._new_tokens.append(token)
        return []

    def flush(self, now: float) -> list[Output]:
        """The commands that what changed needs, as many as may be sent now."""
        if not self._connected:
            return []
        if self._over is Transport.SSE:
            return [Reopen()] if self._stale else []
        pace = self._pace
        if pace is None:
            return []
        if self._pause is not None:
            pace.pause(self._pause, now)
            self._pause = None
        outputs: list[Output] = []
        while self._new_tokens and pace.wait(0, now) == 0:
            token = self._new_tokens.popleft()
            send, name = self._command("authenticate", {"token": token})
            self._tokens[name] = token
            outputs.append(send)
        # First what makes room for the rest.
        for chunk in _chunks([to for to, change in self._changes.items() if not change.is_wanted]):
            if pace.wait(0, now) > 0:
                return outputs
            for to in chunk:
                del self._changes[to]
                self._served.discard(to)
            outputs.append(
                self._command("unsubscribe", {"streams": [{"to": to} for to in chunk]}, dict.fromkeys(chunk))[0]
            )
        wanted = [(to, change.since) for to, change in self._changes.items() if change.is_wanted]
        while wanted:
            size = max(1, min(MAX_SUBSCRIPTIONS, pace.room(now)))
            some, wanted = dict(wanted[:size]), wanted[size:]
            if pace.wait(len(some), now) > 0:
                break
            for to in some:
                del self._changes[to]
            outputs.append(self._subscribe(some))
        return outputs

    def wait(self, now: float) -> float | None:
        """Seconds until `flush` has something to send that waits; `None` when nothing waits."""
        if not self._connected or self._pace is None or not (self._changes or self._new_tokens):
            return None
        targets = sum(change.is_wanted for change in self._changes.values())
        return self._pace.wait(min(targets, 64), now)

    def _command(
        self, kind: str, data: dict[str, Any], targets: Mapping[str, int | None] | None = None
    ) -> tuple[Send, str]:
        self._last_id += 1
        name = str(self._last_id)
        self._pending[name] = _Command(kind, targets or {})
        if self._pace is not None:
            self._pace.spend(len(targets or {}) if kind == "subscribe" else 0)
        return Send(json.dumps({"type": kind, "id": name, "data": data})), name

    def _subscribe(self, wanted: dict[str, int | None], *, is_resume: bool = False) -> Send:
        streams = [{"to": to} if since is None else {"to": to, "since": since} for to, since in wanted.items()]
        data: dict[str, Any] = {"streams": streams}
        if self._epoch is not None and any(since is not None for since in wanted.values()):
            data["epoch"] = self._epoch
        send, name = self._command("subscribe", data, wanted)
        self._served.update(wanted)
        if is_resume:
            self._resumes.add(name)
        return send

    # Connections ------------------------------------------------------------------------------------------------------

    def over_websocket(self) -> None:
        """The next frames come over a WebSocket."""
        self._over = Transport.WEBSOCKET

    def over_sse(self) -> SseRequest:
        """The next frames come over an event stream, which is to be opened so. Of what is wanted, ADWs, rooms, contexts
        and everything that an observer sees can be asked for; one's own user and what is for everyone come without
        asking. Other targets wait for a WebSocket."""
        self._over = Transport.SSE
        self._adopt_asked()
        self._uncarried = {
            to
            for to, reading in self._readings.items()
            if reading.interest is _Interest.WANTED and not _is_in_query(to) and to != "global"
        }
        low = max(
            (
                reading.position
                for reading in self._readings.values()
                if reading.interest is not _Interest.SEEN and reading.position is not None
            ),
            default=None,
        )
        # Positions of a history whose name is not known yet cannot be written: the first welcome names it.
        self._stale = low is not None and self._epoch is None
        cursor: _Cursor | None = None
        if self._epoch is not None and low is not None:
            others: dict[str, int] = {}
            for to, reading in self._carried():
                # A target that was never read begins where the others are.
                reading.position = low if reading.position is None else reading.position
                if reading.position != low:
                    others[to] = reading.position
            cursor = _Cursor(self._epoch, low, others)
        wanted = (to for to, reading in self._readings.items() if reading.interest is _Interest.WANTED)
        targets = sorted(to for to in wanted if _is_in_query(to))
        # No target has a character that a query would have to escape.
        query = f"to={','.join(targets)}" if targets else ""
        return SseRequest(query, None if cursor is None else str(cursor))

    def passed(self, event_id: str) -> None:
        """An event stream said, by an `id:` line, how far it has brought everything; called behind the frame of its
        block."""
        cursor = _Cursor.parse(event_id)
        if cursor is None or self._stale or self._over is not Transport.SSE:
            return
        if self._epoch is not None and self._epoch != cursor.epoch:
            held = (it for it in self._readings.values() if it.interest is not _Interest.SEEN)
            if self._began is not None or any(it.position is not None for it in held):
                # The welcome reports it.
                return
            self._begin_another_history()
        self._epoch = cursor.epoch
        if not self._connected and self._began is None:
            self._began = cursor.low
        for to, reading in self._carried():
            # Before the welcome it says no more than where a target begins that was never read.
            if self._connected or reading.position is None:
                reading.position = max(reading.position or 0, cursor.position(to))

    def _carried(self) -> list[tuple[str, _Reading]]:
        return [
            (to, reading)
            for to, reading in self._readings.items()
            if reading.interest is not _Interest.SEEN and to not in self._uncarried
        ]

    def _adopt_asked(self) -> None:
        """The application may have set other positions than we hold."""
        for to, since in self._asked.items():
            reading = self._readings.get(to)
            if reading is None:
                continue
            if reading.position is not None and since < reading.position:
                self._forget_streams(to)
            reading.position = since
        self._asked.clear()

    def disconnected(self) -> None:
        """The connection is gone."""
        self._connected = False
        unanswered = [
            it.targets for name, it in self._pending.items() if it.kind == "subscribe" and name not in self._resumes
        ]
        for asked in [*unanswered, {to: it.since for to, it in self._changes.items() if it.is_wanted}]:
            # Whether the server got it is not known: the next connection asks again.
            self._asked.update({to: since for to, since in asked.items() if since is not None and to in self._readings})
        self._pending.clear()
        self._changes.clear()
        self._served.clear()
        self._resumes.clear()
        self._tokens.clear()
        self._reported.clear()
        self._pace = self._pause = None
        for reading in self._readings.values():
            reading.replaying, reading.resuming, reading.heard = False, False, None

    def _welcomed(self, welcome: ConnectionWelcomeData) -> list[Output]:
        self._connected = True
        if self._stale and self._over is Transport.SSE:
            self._epoch = welcome.epoch if self._epoch is None else self._epoch
            return [Reopen()]
        self._pace = Pace(welcome)
        outputs: list[Output] = [Connected(welcome)]
        if self._epoch is not None and self._epoch != welcome.epoch:
            outputs += self._begin_another_history()
        self._epoch = welcome.epoch
        # What comes without asking is subscribed as well, since only what is subscribed resumes.
        for to in self._implied(welcome):
            self._uncarried.discard(to)
            reading = self._readings.setdefault(to, _Reading(_Interest.IMPLIED, self._began))
            if reading.interest is _Interest.SEEN:
                reading.interest = _Interest.IMPLIED
        self._began = None
        if self._over is Transport.SSE:
            return outputs
        self._adopt_asked()
        resumed: dict[str, int | None] = {}
        for to, reading in self._readings.items():
            if reading.interest is not _Interest.SEEN:
                reading.resuming = reading.position is not None
                resumed[to] = reading.position
        outputs += [self._subscribe(dict(chunk), is_resume=True) for chunk in _chunks(list(resumed.items()))]
        return outputs

    @staticmethod
    def _implied(welcome: ConnectionWelcomeData) -> list[str]:
        named = [("user", welcome.user_id), ("session", welcome.session_id)]
        return ["global", *(f"{kind}:{name}" for kind, name in named if name is not None)]

    def _begin_another_history(self) -> list[Output]:
        """Nothing of what was read says anything about the new history: read it from its beginning."""
        self._streams.clear()
        self._readings = {to: it for to, it in self._readings.items() if it.interest is not _Interest.SEEN}
        self._asked = dict.fromkeys(self._asked, 0)
        self._began = None if self._began is None else 0
        gaps: list[Output] = []
        for to, reading in self._readings.items():
            if reading.position is not None:
                reading.position = 0
                self._reported.add(to)
                gaps.append(Gap(to, "epoch_changed"))
        return gaps

    # Frames -----------------------------------------------------------------------------------------------------------

    def receive(self, text: str) -> list[Output]:
        """Takes one text frame of the server."""
        try:
            event = parse_incoming(text)
        except ValueError as error:
            return [Unreadable(str(error), text)] if self._read_past(text) else []
        seq = getattr(event, "seq", None)
        if seq is not None:
            return self._logged(event, seq, getattr(event, "prev", None) or 0)
        return self._unlogged(event)

    def _logged(self, event: Event | UnknownEvent, seq: int, prev: int) -> list[Output]:
        hole = self._read(event.to, seq, prev)
        if hole is None:
            return []
        return [*hole, event]

    def _unlogged(self, event: Event | UnknownEvent) -> list[Output]:
        if isinstance(event, ConnectionWelcomeEvent):
            return self._welcomed(event.data)
        if isinstance(event, ConnectionSubscribedEvent):
            return self._subscribed(event)
        if isinstance(event, ConnectionUnsubscribedEvent):
            for stream in event.data.streams:
                reading = self._readings.get(stream.to)
                if event.data.re is not None and reading is not None and reading.interest is _Interest.WANTED:
                    # Unsubscribed by us, and wanted again meanwhile: that is answered later. What came until here
                    # belongs to the earlier subscription.
                    reading.position = None
                    self._streams = {to: at for to, at in self._streams.items() if root_of(to) != stream.to}
                else:
                    self._served.discard(stream.to)
                    self._forget(stream.to)
            # What we asked for ourselves is no news.
            return [] if self._pending.pop(event.data.re or "", None) is not None else [event]
        if isinstance(event, ConnectionReplyEvent) and (event.data.re or "") in self._tokens:
            name = event.data.re or ""
            self._pending.pop(name, None)
            return [TokenTaken(self._tokens.pop(name))]
        if isinstance(event, (ConnectionPongEvent, ConnectionReplyEvent)):
            return [] if self._pending.pop(event.data.re or "", None) is not None else [event]
        if isinstance(event, ConnectionErrorEvent):
            return self._refused(event)
        if isinstance(event, ConnectionGapEvent):
            return self._gap(event)
        if isinstance(event, ConnectionReplayingEvent):
            if (reading := self._readings.get(event.data.stream)) is not None:
                reading.replaying, reading.heard = True, None
            return [event]
        if isinstance(event, ConnectionRecoveredEvent):
            if (reading := self._readings.get(event.data.stream)) is not None:
                reading.replaying = False
                reading.position = max(reading.position or 0, event.data.upto)
            return [event]
        if isinstance(event, ConnectionHeartbeatEvent):
            return self._heartbeat(event)
        if isinstance(event, ConnectionClosingEvent):
            after = event.data.reconnect_after_ms
            outputs: list[Output] = [Farewell(None if after is None else after / 1000)]
            if self._over is Transport.SSE and event.data.code is not None:
                outputs.append(WillClose(event.data.code, event.data.reason))
            return [*outputs, event]
        return [event]

    def _subscribed(self, event: ConnectionSubscribedEvent) -> list[Output]:
        name = event.data.re or ""
        command = self._pending.pop(name, None)
        # The positions of a resume are those that we hold already.
        asked = command.targets if command is not None and name not in self._resumes else {}
        self._resumes.discard(name)
        for stream in event.data.streams:
            reading = self._readings.get(stream.to)
            if reading is None:
                # Unsubscribed meanwhile, which is answered later.
                continue
            reading.resuming, reading.heard = False, None
            since = asked.get(stream.to)
            if since is None:
                reading.position = stream.head if reading.position is None else reading.position
                continue
            # The application asked to read this again: what it has is no duplicate.
            if reading.position is not None and reading.position > since:
                self._forget_streams(stream.to)
            reading.position = since
        outputs: list[Output] = []
        for refused in event.data.refused:
            before = self._readings.get(refused.to)
            self._served.discard(refused.to)
            self._forget(refused.to)
            if before is not None and before.interest is _Interest.WANTED:
                outputs.append(TargetRefused(refused.to, refused.code, refused.message))
        return outputs

    def _refused(self, event: ConnectionErrorEvent) -> list[Output]:
        name = event.data.re or ""
        command = self._pending.pop(name, None)
        token = self._tokens.pop(name, None)
        if name in self._resumes:
            self._resumes.discard(name)
            # What comes without asking goes on, with a hole that will be seen.
            for reading in self._readings.values():
                reading.resuming = False
            # Without its targets the connection would look alive and stay silent.
            return [event, HangUp(event.data.message)] if event.data.retryable else [event]
        if command is None:
            return self._refused_target(event)
        if event.data.retryable:
            self._send_again(command, token, event.data.retry_after_ms)
            return []
        if command.kind == "subscribe":
            for to in command.targets:
                self._served.discard(to)
                self._forget(to)
        return [event]

    def _send_again(self, command: _Command, token: str | None, after_ms: int | None) -> None:
        """A command that was refused for now is sent again when the server said, with what changed meanwhile."""
        self._pause = max(self._pause or 0.0, 1.0 if after_ms is None else after_ms / 1000)
        if token is not None and not self._new_tokens:
            self._new_tokens.append(token)
        for to, since in command.targets.items():
            is_wanted = to in self._readings and self._readings[to].interest is not _Interest.SEEN
            if command.kind == "subscribe":
                self._served.discard(to)
                if is_wanted:
                    self._changes.setdefault(to, _Change(True, since))
            elif not is_wanted:
                self._served.add(to)
                self._changes.setdefault(to, _Change(False))

    def _refused_target(self, event: ConnectionErrorEvent) -> list[Output]:
        """An error that answers no command may name the target of an event stream that it is about."""
        to = (event.data.details or {}).get("to")
        if self._over is not Transport.SSE or not isinstance(to, str):
            return [event]
        self._forget(to)
        return [TargetRefused(to, event.data.code, event.data.message)]

    def _gap(self, event: ConnectionGapEvent) -> list[Output]:
        """A gap is about one stream, and the other streams of its target go on from where they are; or, where it names
        a target, about all streams that are read by it. What it told is no hole any more."""
        gap = event.data
        if gap.reason == "epoch_changed":
            if gap.stream in self._reported:
                return []
            self._forget_streams(gap.stream)
            if (reading := self._readings.get(gap.stream)) is not None:
                reading.position = 0
        elif gap.to_seq is not None:
            for to, last in self._streams.items():
                root = root_of(to)
                if gap.stream in (to, root if root in self._readings else REALM):
                    self._streams[to] = max(last, gap.to_seq)
        return [Gap(gap.stream, gap.reason, gap.from_seq, gap.to_seq)]

    def _heartbeat(self, event: ConnectionHeartbeatEvent) -> list[Output]:
        """The heartbeat says how far each target was sent. It comes in order with the frames, so being behind means
        that a tail is lost. What the first heartbeat of a target says may be the reach of the log where it was
        subscribed, above its last event; a number that grew since names an event."""
        outputs: list[Output] = []
        for sent in event.data.positions:
            reading = self._readings.get(sent.to)
            if reading is None or reading.replaying:
                continue
            before, reading.heard = reading.heard, sent.seq
            grew = before is not None and before < sent.seq
            if grew and reading.position is not None and reading.position < sent.seq:
                outputs.append(Gap(sent.to, "hole", reading.position + 1, sent.seq))
                reading.position = sent.seq
        return outputs

    def _read(self, to: str, seq: int, prev: int) -> list[Output] | None:
        """Counts a logged frame as read: `None` for a duplicate, else the hole before it, if there is one."""
        root = root_of(to)
        if root is None:
            return []
        reading = self._governing(root)
        if reading.resuming or (reading.position is not None and seq <= reading.position):
            return None
        reading.position = seq
        last = self._streams.pop(to, None)
        self._streams[to] = seq
        if len(self._streams) > MAX_STREAMS:
            # The one that was written longest ago: each writing puts its stream at the end.
            del self._streams[next(iter(self._streams))]
        if last is not None and last < prev:
            return [Gap(to, "hole", last + 1, prev)]
        return []

    def _governing(self, root: str) -> _Reading:
        """Whose position a frame of this root moves: its own where it is read by itself, else the realm's."""
        own = self._readings.get(root) or self._readings.get(REALM)
        if own is None:
            own = self._readings[root] = _Reading(_Interest.SEEN)
        return own

    def _read_past(self, text: str) -> bool:
        """A frame that cannot be read may still have a number, which must not be asked for again and again. Whether it
        is new."""
        try:
            frame = json.loads(text)
        except ValueError:
            return True
        if not isinstance(frame, dict):
            return True
        to, seq = frame.get("to"), frame.get("seq")
        if not isinstance(to, str) or not isinstance(seq, int) or seq < 1:
            return True
        return self._read(to, seq, 0) is not None

    def _forget(self, root: str) -> None:
        self._readings.pop(root, None)
        self._forget_streams(root)

    def _forget_streams(self, root: str) -> None:
        self._streams = {} if root == REALM else {to: at for to, at in self._streams.items() if root_of(to) != root}


def _chunks(items: list[Any]) -> Iterable[list[Any]]:
    for start in range(0, len(items), MAX_SUBSCRIPTIONS):
        yield items[start : start + MAX_SUBSCRIPTIONS]
