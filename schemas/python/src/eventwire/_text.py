"""Text that UTF-8 can hold. A Python string can hold half a surrogate pair, as JSON has it of a text that was cut."""

from __future__ import annotations

import re
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")


class UnpairedSurrogate(ValueError):
    """A key of an object has half a surrogate pair, and no key can be sent in its place."""


def well_formed(text: str) -> str:
    """The text with U+FFFD for each half of a surrogate pair. Two halves that follow each other are the character."""
    if _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def is_well_formed(value: Any) -> bool:
    """Whether no string of a JSON value, and no key, has half a surrogate pair."""
    if isinstance(value, str):
        return _SURROGATE.search(value) is None
    if isinstance(value, dict):
        return all(is_well_formed(key) and is_well_formed(it) for key, it in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(is_well_formed, value))
    return True


def well_formed_value(value: Any, path: str = "") -> Any:
    """A JSON value with U+FFFD for each half of a surrogate pair in its strings.

    Raises `UnpairedSurrogate` for a key: two keys could become one.
    """
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, dict):
        for key in value:
            if isinstance(key, str) and well_formed(key) != key:
                at = f" of {path}" if path else ""
                raise UnpairedSurrogate(
                    f"the key {key!a}{at} has half a surrogate pair; "
                    "a character is outside of the basic plane and was cut in two: send the whole key"
                )
        return {key: well_formed_value(it, f"{path}.{key}" if path else str(key)) for key, it in value.items()}
    if isinstance(value, (list, tuple)):
        return [well_formed_value(it, f"{path}[{at}]") for at, it in enumerate(value)]
    return value
