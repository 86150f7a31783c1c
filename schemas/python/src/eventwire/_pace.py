"""How fast commands may be sent, by the limits that `connection.welcome` names. Pure: the time is handed in."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from .models import ConnectionWelcomeData

_SHARE = 0.95
"""The part of a sustained rate that is used: the clocks of two machines differ."""


@dataclass
class _Bucket:
    """A burst, then a rate."""

    rate: float
    burst: float
    left: float
    # When `left` was counted; unknown until the first use.
    at: float | None = None

    def holds(self, now: float) -> float:
        if self.at is not None and now > self.at:
            self.left = min(self.burst, self.left + (now - self.at) * self.rate)
        self.at = now if self.at is None else max(self.at, now)
        return self.left

    def wait(self, wanted: float, now: float) -> float:
        """Seconds until it holds so many."""
        return max(0.0, (wanted - self.holds(now)) / self.rate)


class Pace:
    """The commands, and the new targets, that a connection may still send."""

    def __init__(self, welcome: ConnectionWelcomeData) -> None:
        limits = welcome.limits
        self._commands = _Bucket(limits.commands_per_second * _SHARE, limits.command_burst, limits.command_burst)
        self._targets: _Bucket | None = None
        if limits.targets_per_second is not None:
            burst = limits.target_burst or limits.targets_per_second
            self._targets = _Bucket(limits.targets_per_second * _SHARE, burst, burst)
        self._not_before = -inf

    def spend(self, targets: int) -> None:
        """A command with so many new targets was sent."""
        self._commands.left -= 1
        if self._targets is not None:
            self._targets.left -= targets

    def pause(self, seconds: float, now: float) -> None:
        """The server asked to wait."""
        self._not_before = max(self._not_before, now + seconds)

    def wait(self, targets: int, now: float) -> float:
        """Seconds until a command with so many new targets may be sent; 0 for now."""
        waits = [self._commands.wait(1, now), self._not_before - now, 0.0]
        if self._targets is not None and targets:
            waits.append(self._targets.wait(min(targets, self._targets.burst), now))
        return max(waits)

    def room(self, now: float) -> int:
        """New targets that may be named at once now."""
        return 1_000_000 if self._targets is None else int(self._targets.holds(now))
