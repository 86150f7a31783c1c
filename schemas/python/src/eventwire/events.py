"""Reading events, in two stages: first the type; then, for a type that this version knows, the whole.

A known type with a wrong body is an error. An unknown type is no error: a newer server may have it, and vendors have
their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias, get_args

from pydantic import Discriminator, Tag, TypeAdapter
from pydantic_core import from_json

from ._text import well_formed_value
from .models import Event, KnownPublication, UnknownEvent, VendorPublication


def _types(union: Any) -> frozenset[str]:
    members = get_args(get_args(union.__value__)[0])
    return frozenset(get_args(member.model_fields["type"].annotation)[0] for member in members)


EVENT_TYPES: frozenset[str] = _types(Event)
"""The types that `Event` has a class for."""

_PUBLISHABLE = _types(KnownPublication)


def _type_of(value: object) -> object:
    return value.get("type") if isinstance(value, Mapping) else getattr(value, "type", None)


def _event_tag(value: object) -> str:
    kind = _type_of(value)
    # What has no type, or none that is a text, is told so by UnknownEvent.
    return "known" if isinstance(kind, str) and kind in EVENT_TYPES else "unknown"


def _publication_tag(value: object) -> str:
    kind = _type_of(value)
    return "vendor" if isinstance(kind, str) and kind.startswith("_") else "known"


IncomingEvent: TypeAlias = Annotated[
    Annotated[Event, Tag("known")] | Annotated[UnknownEvent, Tag("unknown")], Discriminator(_event_tag)
]
"""Every event that a client must accept: those it knows, and any other."""

Publication: TypeAlias = Annotated[
    Annotated[KnownPublication, Tag("known")] | Annotated[VendorPublication, Tag("vendor")],
    Discriminator(_publication_tag),
]
"""One event to publish."""

_event: TypeAdapter[Event] = TypeAdapter(Event)
_incoming: TypeAdapter[Event | UnknownEvent] = TypeAdapter(IncomingEvent)
_publication: TypeAdapter[KnownPublication | VendorPublication] = TypeAdapter(Publication)


def _read(given: str | bytes | Mapping[str, Any]) -> object:
    if not isinstance(given, (str, bytes)):
        return given
    try:
        return from_json(given)
    except ValueError as error:
        if "hex escape" not in str(error) and "surrogate" not in str(error):
            raise
        # Half a surrogate pair, which the reader of the standard library takes.
        return well_formed_value(json.loads(given))


def parse_event(given: str | bytes | Mapping[str, Any]) -> Event:
    """An event of this version, as the class of its type, from JSON text or from what `json.loads` gave.

    Raises `ValueError` (pydantic's `ValidationError` where the text is JSON) that says what is wrong, and for a type
    that is not known; where those may come, use `parse_incoming`.
    """
    value = _read(given)
    kind = _type_of(value)
    if isinstance(kind, str) and kind not in EVENT_TYPES:
        raise ValueError(f"no event of this version has the type {kind!r}; parse_incoming reads newer ones, too")
    return _event.validate_python(value)


def parse_incoming(given: str | bytes | Mapping[str, Any]) -> Event | UnknownEvent:
    """Any event that a server may send: the class of its type, or `UnknownEvent` for a type that is not known.

    Raises `ValueError`, as `parse_event` does, for a known type with a wrong body.
    """
    return _incoming.validate_python(_read(given))


def parse_publication(given: str | bytes | Mapping[str, Any]) -> KnownPublication | VendorPublication:
    """An event to publish, as the class of its type. Raises `ValueError`, as `parse_event` does."""
    return _publication.validate_python(_read(given))
