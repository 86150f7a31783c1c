"""Notices that the machine slept. Elapsed time is measured with a monotonic clock, which may pause meanwhile."""

from __future__ import annotations

SLICE_SECONDS = 5.0
"""A wait is looked at so often."""
SLEPT_SECONDS = 10.0
"""A wall clock that ran so much further than the other one, or a wait that took so much longer, is a sleep."""


class Awake:
    """Compares the two clocks. Pure: their times are handed in."""

    def __init__(self) -> None:
        self._monotonic: float | None = None
        self._wall = 0.0

    def slept(self, monotonic: float, wall: float, planned: float = SLICE_SECONDS) -> bool:
        """Whether the machine slept since the last call, after a wait of at most `planned` seconds.

        A wall clock that was set forward looks the same; then a live connection is probed, which does it no harm.
        """
        before, wall_before = self._monotonic, self._wall
        self._monotonic, self._wall = monotonic, wall
        if before is None:
            return False
        elapsed = monotonic - before
        return wall - wall_before - elapsed > SLEPT_SECONDS or elapsed > planned + SLEPT_SECONDS

    def forget(self) -> None:
        """Begins again: what lies between says nothing."""
        self._monotonic = None
