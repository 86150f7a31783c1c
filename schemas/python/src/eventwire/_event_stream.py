"""Reads the lines of an event stream (WHATWG HTML, section 9.2.6), with a bound on what is kept of a line."""

from __future__ import annotations

import codecs
from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """What an empty line has ended."""

    id: str | None
    data: str | None
    retry: int | None


class TooLong(Exception):
    """A line or the data of one event is larger than anything that is sent."""


class Reader:
    """Bytes in, blocks out, in whatever pieces the bytes come."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # A byte order mark at the beginning is not part of the text.
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._line: list[str] = []
        self._kept = 0
        self._after_return = False
        self._id: str | None = None
        self._data: list[str] = []
        self._data_size = 0
        self._retry: int | None = None

    def push(self, piece: bytes) -> list[Block]:
        """Takes bytes; returns the blocks that they ended."""
        text = self._decoder.decode(piece)
        if self._after_return and text:
            self._after_return = False
            text = text.removeprefix("\n")
        if text.endswith("\r"):
            self._after_return = True
        *lines, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        blocks: list[Block] = []
        for line in lines:
            self._keep(line)
            whole = "".join(self._line)
            self._line.clear()
            self._kept = 0
            block = self._end_of(whole)
            if block is not None:
                blocks.append(block)
        self._keep(rest)
        return blocks

    def _keep(self, part: str) -> None:
        self._kept += len(part)
        if self._kept > self._limit:
            raise TooLong
        self._line.append(part)

    def _end_of(self, line: str) -> Block | None:
        if not line:
            found = self._id is not None or self._data or self._retry is not None
            block = Block(self._id, "\n".join(self._data) if self._data else None, self._retry)
            self._id, self._retry, self._data, self._data_size = None, None, [], 0
            return block if found else None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data_size += len(value) + 1
            if self._data_size > self._limit:
                raise TooLong
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self._retry = int(value)
        # Comments, `event:`, and what a later version adds.
        return None
