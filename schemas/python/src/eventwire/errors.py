"""What can go wrong, one class for each thing that a program does next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .models import KnownPublication, VendorPublication
    from .publisher import Receipt

RETRYABLE = frozenset({"rate_limited", "unavailable", "timeout", "internal"})
"""Error codes after which the same request may succeed later; every other one needs a mended request."""


class EventwireError(Exception):
    """Everything that this package raises itself.

    Where publishing failed, `outcomes` are those of the events before, in order, and `publications` the events that
    have none, with the keys under which they were or would have been sent: publish these, and nothing is published
    twice as long as the server remembers the keys (10 minutes; one that keeps its history in memory forgets them when
    it restarts).
    """

    outcomes: tuple[Receipt | Refused, ...] = ()
    publications: tuple[KnownPublication | VendorPublication, ...] = ()


class Refused(EventwireError):
    """The server refused the request, or one event of it. Mend it, unless it is `retryable`."""

    def __init__(self, code: str, message: str, status: int | None = None, retry_after_seconds: float | None = None):
        super().__init__(f"{code}: {message}")
        self.code = code
        """What went wrong, as a word that programs compare; see `eventwire.models.ErrorCode`."""
        self.message = message
        """What was wrong, where, and what to do, in one line."""
        self.status = status
        """The HTTP status, where the whole request was refused."""
        self.retry_after_seconds = retry_after_seconds
        """How long the server asks to wait, if it does."""

    @property
    def retryable(self) -> bool:
        """Whether the same event may be taken later."""
        return self.code in RETRYABLE


class Unreachable(EventwireError):
    """No connection to the server came about, so nothing was published. Try again later."""


class Unanswered(EventwireError):
    """The answer did not come, so nobody knows whether the events were published. Publish `publications` again."""


class Foreign(EventwireError):
    """The answer is none of this protocol: another server is at that address, or a proxy answered in its place."""

    def __init__(self, status: int):
        super().__init__(f"status {status} with an answer that is not from an Eventwire server")
        self.status = status
