"""What the generated classes stand on: how members are read and written, and the few types that are made by hand."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, model_validator
from pydantic_core import to_jsonable_python

from ._text import is_well_formed, well_formed_value

# RFC 3339 with `Z`, to the microsecond: what the schemas call Time.
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z", re.ASCII)


class Model(BaseModel):
    """An object of the protocol.

    Members that this version does not know are kept, so that reading and writing loses nothing. A member that is
    optional and has no value is `None` in Python and absent in JSON, never null.
    """

    model_config = ConfigDict(extra="allow", populate_by_name=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _none_is_absent(cls, given: Any) -> Any:
        """`None` for a member is the same as not naming it."""
        if isinstance(given, dict) and None in given.values():
            named = {name for field, info in cls.model_fields.items() for name in (field, info.alias)}
            return {name: value for name, value in given.items() if value is not None or name not in named}
        return given

    def to_wire(self) -> dict[str, Any]:
        """The object as JSON has it: wire names, and nothing that was not set. Half a surrogate pair in a text becomes
        U+FFFD; raises `ValueError` for one in a key of free-form data."""
        plain = self.model_dump(mode="python", by_alias=True, exclude_unset=True)
        if not is_well_formed(plain):
            wire: dict[str, Any] = to_jsonable_python(well_formed_value(plain))
            return wire
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class Sendable(Model):
    """An object that clients make. Its class says its `type`."""

    def model_post_init(self, _context: Any, /) -> None:
        """Counts `type` as set, so that it is written."""
        self.__pydantic_fields_set__.add("type")


def _read_time(given: object) -> object:
    if isinstance(given, str):
        if not _TIME.fullmatch(given):
            raise ValueError("a time is RFC 3339 in UTC with Z, to the microsecond: 2026-11-20T23:40:01.123456Z")
        if given.startswith("0000"):
            raise ValueError("a time of the year 0000; the years are 0001 to 9999")
        return given
    if isinstance(given, datetime):
        if given.tzinfo is None:
            raise ValueError("a time needs its zone: datetime.now(timezone.utc)")
        try:
            return given.astimezone(timezone.utc)
        except OverflowError:
            raise ValueError(f"{given.isoformat()} is outside of the years 0001 to 9999 in UTC") from None
    raise ValueError("a time is a text or a datetime with its zone")


def _write_time(time: datetime) -> str:
    text = time.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")
    # %Y does not pad, and servers write no zeros at the end.
    return text.rjust(26, "0").rstrip("0").rstrip(".") + "Z"


def _refuse_none(given: object) -> object:
    if given is None:
        raise ValueError("any JSON value but null")
    return given


Time = Annotated[datetime, BeforeValidator(_read_time), PlainSerializer(_write_time, return_type=str)]
"""An instant in UTC, to the microsecond."""

AnyValue = Annotated[Any, BeforeValidator(_refuse_none)]
"""Any JSON value but null."""

AnyObject = dict[str, Any]
"""Any object."""
