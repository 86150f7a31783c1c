"""What a listener remembers over all of its connections: which targets it wants and how far it has read each of them.

No socket, no clock, no randomness: text goes in, text and items come out. A position belongs to a root (an audience
with all its parts), because the frames of a root come in the order of their numbers. That one number is enough to
resume, and everything at or below it is a duplicate. Holes are looked for in each exact stream, since `prev` chains the
frames of one stream: a `prev` above the last number seen there names something that never came (LOG-02).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, TypeAlias

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


Output: TypeAlias = Item | Send | Farewell | HangUp | TokenTaken


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
        # The commands of this connection that are unanswered, and what each asked for.
        self._pending: dict[str, dict[str, int | None]] = {}
        self._resumes: set[str] = set()
        self._tokens: dict[str, str] = {}
        self._last_id = 0

    def checkpoint(self) -> Checkpoint:
        """How far everything wanted has been read."""
        positions = {
            to: reading.position
            for to, reading in self._readings.items()
            if reading.interest is not _Interest.SEEN and reading.position is not None
        }
        return Checkpoint(self._epoch, positions)

    # Commands ---------------------------------------------------------------------------------------------------------

    def subscribe(self, targets: Mapping[str, int | None]) -> list[Output]:
        """Wants targets, from these positions on; without a position from now on, or from where it already reads."""
        for to, since in targets.items():
            self._readings.setdefault(to, _Reading(_Interest.WANTED)).interest = _Interest.WANTED
            if since is not None and not self._connected:
                self._asked[to] = since
        if not self._connected:
            return []
        return [self._subscribe(dict(chunk)) for chunk in _chunks(list(targets.items()))]

    def unsubscribe(self, targets: Iterable[str]) -> list[Output]:
        """No longer wants targets."""
        names = list(targets)
        for to in names:
            self._forget(to)
            self._asked.pop(to, None)
        if not self._connected:
            return []
        return [
            self._command("unsubscribe", {"streams": [{"to": to} for to in chunk]}, {})[0] for chunk in _chunks(names)
        ]

    def authenticate(self, token: str) -> list[Output]:
        """Goes on with another token. When refused, the old one stays."""
        if not self._connected:
            return [TokenTaken(token)]
        send, name = self._command("authenticate", {"token": token}, {})
        self._tokens[name] = token
        return [send]

    def _command(self, kind: str, data: dict[str, Any], asked: dict[str, int | None]) -> tuple[Send, str]:
        self._last_id += 1
        name = str(self._last_id)
        self._pending[name] = asked
        return Send(json.dumps({"type": kind, "id": name, "data": data})), name

    def _subscribe(self, wanted: dict[str, int | None], *, is_resume: bool = False) -> Send:
        streams = [{"to": to} if since is None else {"to": to, "since": since} for to, since in wanted.items()]
        data: dict[str, Any] = {"streams": streams}
        if self._epoch is not None and any(since is not None for since in wanted.values()):
            data["epoch"] = self._epoch
        send, name = self._command("subscribe", data, {} if is_resume else wanted)
        if is_resume:
            self._resumes.add(name)
        return send

    # Connections ------------------------------------------------------------------------------------------------------

    def disconnected(self) -> None:
        """The connection is gone."""
        self._connected = False
        for asked in self._pending.values():
            # Asked for, and nobody knows whether it was heard: the next connection asks again.
            self._asked.update({to: since for to, since in asked.items() if since is not None})
        self._pending.clear()
        self._resumes.clear()
        self._tokens.clear()
        for reading in self._readings.values():
            reading.replaying, reading.resuming, reading.heard = False, False, None

    def _welcomed(self, welcome: ConnectionWelcomeData) -> list[Output]:
        self._connected = True
        outputs: list[Output] = [Connected(welcome)]
        if self._epoch is not None and self._epoch != welcome.epoch:
            outputs += self._begin_another_history()
        self._epoch = welcome.epoch
        # What comes without asking is subscribed as well, since only what is subscribed resumes.
        for to in self._implied(welcome):
            reading = self._readings.setdefault(to, _Reading(_Interest.IMPLIED))
            if reading.interest is _Interest.SEEN:
                reading.interest = _Interest.IMPLIED
        for to, since in self._asked.items():
            reading = self._readings[to]
            if reading.position is not None and since < reading.position:
                self._forget_streams(to)
            reading.position = since
        self._asked.clear()
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
        gaps: list[Output] = []
        for to, reading in self._readings.items():
            if reading.position is not None:
                reading.position = 0
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
            return [Farewell(None if after is None else after / 1000), event]
        return [event]

    def _subscribed(self, event: ConnectionSubscribedEvent) -> list[Output]:
        name = event.data.re or ""
        asked = self._pending.pop(name, {})
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
            self._forget(refused.to)
            if before is not None and before.interest is _Interest.WANTED:
                outputs.append(TargetRefused(refused.to, refused.code, refused.message))
        return outputs

    def _refused(self, event: ConnectionErrorEvent) -> list[Output]:
        name = event.data.re or ""
        asked = self._pending.pop(name, None)
        self._tokens.pop(name, None)
        if name in self._resumes:
            self._resumes.discard(name)
            # What comes without asking goes on, with a hole that will be seen.
            for reading in self._readings.values():
                reading.resuming = False
            # Without its targets the connection would look alive and stay silent.
            return [event, HangUp(event.data.message)] if event.data.retryable else [event]
        if asked and not event.data.retryable:
            for to in asked:
                self._forget(to)
        return [event]

    def _gap(self, event: ConnectionGapEvent) -> list[Output]:
        """A gap is about one stream, and the other streams of its target go on from where they are; or, where it names
        a target, about all streams that are read by it. What it told is no hole any more."""
        gap = event.data
        if gap.reason == "epoch_changed":
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
