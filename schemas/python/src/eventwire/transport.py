"""What carries the events, and when to take something else. Pure: the time is handed in.

A listener has an order of transports. It takes the first that works, and goes on to the next when one is refused in a
way that is about the transport (a proxy that passes no upgrades on answers 400, 404, 426 ...) or was tried in vain
several times. From a later one it goes back: the better one is tried again beside the connection that works, with waits
that double as long as that fails. The positions go with it, so a switch costs no event.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from .backoff import Ended


class Transport(Enum):
    """What carries the events."""

    WEBSOCKET = "websocket"
    """`GET /v1/ws`: events and commands over one socket."""
    SSE = "sse"
    """`GET /v1/sse`: server-sent events over HTTP, which nearly every proxy lets through. It carries no commands; for
    other targets the listener opens it again."""


@dataclass(frozen=True)
class Fallback:
    """When to take another transport."""

    after: int = 2
    """Attempts in a row without a welcome, from a server that could be reached, before the next transport is tried."""
    return_after_seconds: float = 60.0
    """When a better transport is tried again after it was left."""
    return_max_seconds: float = 600.0
    """Upper bound of that wait, which doubles with every return that fails."""


class Choice:
    """The policy with its memory."""

    def __init__(self, order: Iterable[Transport], fallback: Fallback) -> None:
        self._order = list(dict.fromkeys(order)) or [Transport.WEBSOCKET]
        self._fallback = fallback
        self._at = 0
        self._failures = 0
        # Transports in a row that were refused for what they are.
        self._unusable = 0
        self._stay = fallback.return_after_seconds
        self._until: float | None = None
        # Where to go back to when the return that is under way fails.
        self._from: int | None = None

    @property
    def preferred(self) -> Transport:
        """The best transport."""
        return self._order[0]

    def next(self, now: float) -> Transport:
        """What the next connection is made over."""
        if self._at > 0 and self._until is not None and self._until <= now:
            self._from = self._at
            self._begin(0)
        return self._order[self._at]

    def return_at(self) -> float | None:
        """When a better transport is to be tried beside the present connection."""
        return self._until if self._at > 0 else None

    def welcomed(self) -> None:
        """The server has said welcome."""
        self._failures = self._unusable = 0
        self._from = None
        if self._at == 0:
            self._stay, self._until = self._fallback.return_after_seconds, None

    def failed(self, ended: Ended, now: float, *, reached: bool) -> bool:
        """An attempt ended without a welcome; `reached` is whether there was a server at all.

        Returns whether another transport is next because of what was said, so that the refusal is no end."""
        unusable = _is_about_the_transport(ended)
        if len(self._order) < 2 or not reached:
            return False
        if self._from is not None:
            back, self._from = self._from, None
            self._lengthen()
            self._fall_to(back, now)
            return unusable
        self._failures += 1
        self._unusable += unusable
        if not unusable and self._failures < max(self._fallback.after, 1):
            return False
        self._fall_to((self._at + 1) % len(self._order), now)
        return unusable and self._unusable < len(self._order)

    def returned(self, opened: bool, now: float) -> None:
        """The better transport was tried beside the present connection. When it opened, it carries the next one."""
        if opened:
            self._from = self._at
            self._begin(0)
        else:
            self._lengthen()
            self._until = now + self._stay

    def _lengthen(self) -> None:
        self._stay = min(self._stay * 2, self._fallback.return_max_seconds)

    def _fall_to(self, at: int, now: float) -> None:
        self._begin(at)
        self._until = now + self._stay if at > 0 else None

    def _begin(self, at: int) -> None:
        self._at = at
        self._failures = 0


def _is_about_the_transport(ended: Ended) -> bool:
    """Whether a refusal says that this way to connect does not exist there, and not something about us or about now."""
    if ended.cause != "refused":
        return False
    if ended.code in (401, 403, 408, 429):
        return False
    return ended.code in (501, 505) or not 500 <= ended.code <= 599
