"""Typed events, publishing and listening for Eventwire.

    from eventwire import Listener, Publisher
    from eventwire.models import AdwTextBlockData, AdwTextBlockEvent, AdwTextBlockPublication

`eventwire.models` is generated from the published schemas; the rest is written by hand.
"""

from .backoff import AfterClose, Backoff
from .errors import EventwireError, Foreign, Refused, Unanswered, Unreachable
from .events import EVENT_TYPES, IncomingEvent, Publication, parse_event, parse_incoming, parse_publication
from .listener import Listener, TargetItems
from .models import Command, Event, UnknownEvent, VendorPublication
from .publisher import AsyncPublisher, Evictions, Outcome, Publisher, Receipt
from .session import (
    Checkpoint,
    Closed,
    Connected,
    Connecting,
    Gap,
    Item,
    Reconnecting,
    State,
    Target,
    TargetRefused,
    Unreadable,
)
from .transport import Fallback, Transport

__all__ = [
    "EVENT_TYPES",
    "AfterClose",
    "AsyncPublisher",
    "Backoff",
    "Checkpoint",
    "Closed",
    "Command",
    "Connected",
    "Connecting",
    "Event",
    "EventwireError",
    "Evictions",
    "Fallback",
    "Foreign",
    "Gap",
    "IncomingEvent",
    "Item",
    "Listener",
    "Outcome",
    "Publication",
    "Publisher",
    "Receipt",
    "Reconnecting",
    "Refused",
    "State",
    "Target",
    "TargetItems",
    "TargetRefused",
    "Transport",
    "Unanswered",
    "UnknownEvent",
    "Unreachable",
    "Unreadable",
    "VendorPublication",
    "parse_event",
    "parse_incoming",
    "parse_publication",
]
