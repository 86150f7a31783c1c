"""When to try again, and when not to. Pure: randomness and the time are handed in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Backoff:
    """How long to wait between attempts.

    Full jitter: clients that lost a server together do not return together.
    """

    base_seconds: float = 0.5
    """Upper bound of the first wait. Doubles with every attempt that fails."""
    max_seconds: float = 30.0
    """Upper bound of every wait."""
    attempts: int | None = None
    """Attempts in a row before it is given up; `None` for no end."""
    stable_after_seconds: float = 10.0
    """A connection that lasted so long was a good one: the count begins again. It also begins again
    after one that was welcomed and delivered an event, and after one that lasted longer than the wait before it."""

    def wait(self, failed: int, random: float) -> float:
        """Seconds to wait after so many failures in a row, from 1; `random` is from 0 to 1."""
        doublings = min(max(failed - 1, 0), 62)
        return random * min(self.base_seconds * 2.0**doublings, self.max_seconds)


class AfterClose(Enum):
    """What a client does after a close."""

    RECONNECT = "reconnect"
    """Connect again, with backoff, and resume."""
    REFRESH_TOKEN = "refresh_token"
    """Get a new token first, then connect again."""
    STOP = "stop"
    """Stay away: connecting again would end the same way."""


CLOSE_CODES: dict[int, AfterClose] = {
    1000: AfterClose.STOP,
    1001: AfterClose.RECONNECT,
    1002: AfterClose.STOP,
    1007: AfterClose.STOP,
    1008: AfterClose.STOP,
    1009: AfterClose.RECONNECT,
    1012: AfterClose.RECONNECT,
    1013: AfterClose.RECONNECT,
    4000: AfterClose.STOP,
    4001: AfterClose.REFRESH_TOKEN,
    4002: AfterClose.RECONNECT,
    4003: AfterClose.STOP,
    4008: AfterClose.RECONNECT,
    4009: AfterClose.STOP,
    4029: AfterClose.RECONNECT,
}
"""The codes that a server closes with (WS-05). Any other one says nothing about us: connect again."""


def after_status(status: int) -> AfterClose:
    """What a client does after a handshake that was answered with an HTTP status instead of a WebSocket."""
    if status == 401:
        return AfterClose.REFRESH_TOKEN
    if status in (408, 429) or status >= 500:
        return AfterClose.RECONNECT
    return AfterClose.STOP


Cause: TypeAlias = Literal["lost", "silent", "closed", "refused"]
"""Why a connection ended, or did not come about.

- `lost`: the line broke, or there is no server.
- `silent`: the connection is open and nothing arrives on it. A proxy may hold the answer back.
- `closed`: the server closed it; the code says why.
- `refused`: the handshake was answered with another HTTP status.
"""


@dataclass(frozen=True)
class Ended:
    """How a connection, or the attempt to make one, came to its end."""

    next: AfterClose
    code: int
    """The close code, the HTTP status of a refused handshake, or 1006 when the connection just broke."""
    reason: str
    cause: Cause = "lost"


@dataclass(frozen=True)
class Retry:
    """Connect again."""

    attempt: int
    after_seconds: float
    refresh_token: bool


@dataclass(frozen=True)
class Stop:
    """Stay away."""

    code: int
    reason: str


class Reconnect:
    """The policy with its count."""

    def __init__(self, backoff: Backoff, can_refresh: bool) -> None:
        self._backoff = backoff
        self._can_refresh = can_refresh
        self._failed = 0
        self._refreshed = False
        self._connected_at: float | None = None
        self._delivered = False
        # How long the present attempt was waited for.
        self._waited: float | None = None
        self._farewell: float | None = None
        self._stay_away = False

    def connected(self, now: float) -> None:
        """The server has welcomed us."""
        self._connected_at = now
        self._refreshed = False

    def delivered(self) -> None:
        """The present connection has brought an event."""
        self._delivered = True

    def announced(self, return_after_seconds: float | None) -> None:
        """`connection.closing` said when to come back, or, with `None`, not to."""
        self._farewell = return_after_seconds
        self._stay_away = return_after_seconds is None

    def _was_good(self, now: float) -> bool:
        if self._connected_at is None:
            return False
        # A wait may be chosen as nothing at all, which every connection outlives.
        enough = self._backoff.stable_after_seconds
        if self._waited is not None:
            enough = min(enough, max(self._waited, self._backoff.base_seconds))
        return self._delivered or now - self._connected_at >= enough

    def after(self, ended: Ended, now: float, random: float, *, differs: bool = False) -> Retry | Stop:
        """What follows an end. `differs`: the next attempt is made over another transport, so that a refusal of
        this one is no end."""
        farewell, stay_away = self._farewell, self._stay_away
        self._farewell, self._stay_away = None, False
        if self._was_good(now):
            self._failed = 0
        self._connected_at, self._delivered, self._waited = None, False, None
        if (ended.next is AfterClose.STOP and not differs) or stay_away:
            return Stop(ended.code, ended.reason)
        refresh = ended.next is AfterClose.REFRESH_TOKEN
        if refresh:
            # A token that was just fetched and is refused all the same will not get better.
            if self._refreshed or not self._can_refresh:
                return Stop(ended.code, ended.reason)
            self._refreshed = True
        self._failed += 1
        attempts = self._backoff.attempts
        if attempts is not None and self._failed > attempts:
            return Stop(ended.code, f"gave up after {attempts} attempts: {ended.reason}")
        if refresh and self._failed == 1:
            return Retry(self._failed, 0.0, True)
        after = self._backoff.wait(self._failed, random) if farewell is None else farewell
        self._waited = after
        return Retry(self._failed, after, refresh)
