"""Publishing over HTTP: one event or a batch, with an outcome for each, and never twice.

Every event gets an idempotency key before it is sent, so that sending it again is harmless: the server answers what it
answered before. That makes it safe to repeat a request whose answer was lost. What to send, how to read the answer and
when to repeat is decided in `_Attempt`, without a socket; the two publishers put httpx around it.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeAlias

import httpx

from ._address import Server
from ._base import Sendable
from ._text import UnpairedSurrogate
from .backoff import Backoff
from .errors import EventwireError, Foreign, Refused, Unanswered, Unreachable
from .models import KnownPublication, VendorPublication

AnyPublication: TypeAlias = KnownPublication | VendorPublication
"""What can be published: a `...Publication` of the catalog, or `VendorPublication` for a type of your own."""

MAX_ITEMS = 1_000
"""Most events in one request (HTTP-05)."""
MAX_BYTES = 8 * 1024 * 1024
"""Most bytes in one request (HTTP-05)."""
MAX_EVENT_BYTES = 1024 * 1024
"""Most bytes of one event (LIMIT-01)."""

ATTEMPTS = Backoff(base_seconds=0.25, max_seconds=10.0, attempts=6)
"""How often a request is repeated unless said otherwise: six times, within half a minute or so."""


@dataclass(frozen=True)
class Receipt:
    """An accepted event."""

    type: str
    to: str
    id: str
    """The key under which it was published."""
    seq: int | None
    """Its number, if it is logged."""


@dataclass(frozen=True)
class Evictions:
    """Entries that the server dropped before their time, as its memory for this principal was used up (LIMIT-10)."""

    newest_values: int = 0
    """Receivers that subscribe from now on do not get these; publish them again if they matter."""
    ids: int = 0
    """An event that is published again under one of these is a new event."""

    def __add__(self, other: Evictions) -> Evictions:
        return Evictions(self.newest_values + other.newest_values, self.ids + other.ids)


Outcome: TypeAlias = Receipt | Refused
"""What became of one event of a batch."""

TokenSource: TypeAlias = "str | Callable[[], str] | None"
"""An API key or a JWT; or a function that gets one, which is called again when the server refuses the last."""
AsyncTokenSource: TypeAlias = "str | Callable[[], str | Awaitable[str]] | None"
"""As `TokenSource`; the function may be asynchronous."""


@dataclass(frozen=True)
class _Post:
    """Send this; the answer is a `_Answer` or the `httpx.HTTPError` that came instead."""

    body: bytes


@dataclass(frozen=True)
class _Sleep:
    seconds: float


@dataclass(frozen=True)
class _RefreshToken:
    """Get another token, if there is a way to; the answer is whether there was one."""


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: httpx.Headers
    content: bytes


_Step: TypeAlias = _Post | _Sleep | _RefreshToken
_Reply: TypeAlias = "_Answer | httpx.HTTPError | bool | None"


class _Batch:
    """Events of one request, with their keys, and between them those that are refused here and not sent."""

    def __init__(self, parts: Sequence[_Part]) -> None:
        self.every = [part.publication for part in parts]
        self._refused = [part.refused for part in parts]
        self.publications = [part.publication for part in parts if part.refused is None]
        self.evicted = Evictions()
        self.body = b"[" + b",".join(part.encoded for part in parts if part.refused is None) + b"]"

    def all(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The outcomes of what was sent, with those of what was not in their places."""
        sent = iter(outcomes)
        return [next(sent) if refused is None else refused for refused in self._refused]


@dataclass(frozen=True)
class _Part:
    publication: AnyPublication
    encoded: bytes
    refused: Refused | None = None


def _part(publication: AnyPublication) -> _Part:
    try:
        encoded = _encode(publication)
    except UnpairedSurrogate as error:
        return _Part(publication, b"", Refused("invalid_payload", str(error)))
    if len(encoded) > MAX_EVENT_BYTES:
        said = f"an event of {len(encoded)} bytes is over the limit of {MAX_EVENT_BYTES}; it was not sent"
        return _Part(publication, b"", Refused("too_large", said))
    return _Part(publication, encoded)


def _encode(publication: AnyPublication) -> bytes:
    return json.dumps(publication.to_wire(), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _keyed(publication: AnyPublication) -> AnyPublication:
    """The same event with a key. What the application made is left as it is."""
    if not isinstance(publication, Sendable):
        raise TypeError(
            f"an event to publish is a ...Publication of eventwire.models, not {type(publication).__name__}"
        )
    if publication.id is not None:
        return publication
    return publication.model_copy(update={"id": uuid.uuid4().hex})


def _batches(publications: Iterable[AnyPublication]) -> Generator[_Batch, None, None]:
    """Cuts a sequence into requests that a server takes."""
    parts: list[_Part] = []
    size = 2
    for part in map(_part, map(_keyed, publications)):
        bytes_more = len(part.encoded) + 1
        if parts and (len(parts) == MAX_ITEMS or size + bytes_more > MAX_BYTES):
            yield _Batch(parts)
            parts, size = [], 2
        parts.append(part)
        size += bytes_more
    if parts:
        yield _Batch(parts)


def _retry_after(headers: httpx.Headers, error: dict[str, Any]) -> float | None:
    milliseconds = error.get("retry_after_ms")
    if isinstance(milliseconds, (int, float)):
        return milliseconds / 1000
    text = headers.get("retry-after", "")
    return float(text) if text.isdigit() else None


def _refused(error: object, status: int | None, headers: httpx.Headers) -> Refused | None:
    if not isinstance(error, dict):
        return None
    code, message = error.get("code"), error.get("message")
    if not isinstance(code, str) or not isinstance(message, str):
        return None
    return Refused(code, message, status, _retry_after(headers, error))


def _read_answer(answer: _Answer, batch: _Batch) -> list[Outcome] | EventwireError:
    """The outcomes in the order of the events, or why the request failed as a whole."""
    try:
        body = json.loads(answer.content)
    except ValueError:
        return Foreign(answer.status)
    if not isinstance(body, dict):
        return Foreign(answer.status)
    whole = _refused(body.get("error"), answer.status, answer.headers)
    if whole is not None:
        return whole
    results = body.get("results")
    if not isinstance(results, list) or len(results) != len(batch.publications):
        return Foreign(answer.status)
    outcomes: list[Outcome] = []
    for publication, result in zip(batch.publications, results, strict=True):
        if not isinstance(result, dict):
            return Foreign(answer.status)
        if "error" in result:
            refused = _refused(result["error"], None, answer.headers)
            if refused is None:
                return Foreign(answer.status)
            outcomes.append(refused)
        else:
            seq = result.get("seq")
            outcomes.append(Receipt(publication.type, publication.to, publication.id or "", seq))
    evicted = body.get("evicted")
    if isinstance(evicted, dict):
        counts = (evicted.get(name) for name in ("newest_values", "ids"))
        batch.evicted += Evictions(*(count if isinstance(count, int) else 0 for count in counts))
    return outcomes


def _attempts(batch: _Batch, backoff: Backoff) -> Generator[_Step, _Reply, list[Outcome]]:
    """Sends a batch until it is answered for good, always the same bytes with the same keys."""
    failed = 0
    # Whether a request may have arrived although its answer did not.
    may_have_arrived = False
    refreshed = False
    while True:
        reply = yield _Post(batch.body)
        again_after: float | None = None
        outcome: list[Outcome] | EventwireError
        if isinstance(reply, _Answer):
            outcome = _read_answer(reply, batch)
            if isinstance(outcome, Refused):
                if outcome.code == "unauthorized" and not refreshed:
                    refreshed = True
                    if (yield _RefreshToken()) is True:
                        continue
                again = outcome.retryable
                again_after = outcome.retry_after_seconds
            elif isinstance(outcome, Foreign):
                # A proxy whose server is away.
                again = outcome.status in (429, 502, 503, 504)
                again_after = _retry_after(reply.headers, {})
                may_have_arrived = may_have_arrived or outcome.status in (502, 504)
            elif isinstance(outcome, list):
                waits = [it for it in outcome if isinstance(it, Refused) and it.retryable]
                again = bool(waits)
                again_after = max((it.retry_after_seconds or 0.0 for it in waits), default=0.0) or None
            else:
                again = False
        elif isinstance(reply, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)):
            outcome, again = Unreachable(f"the server cannot be reached: {reply}"), True
        elif isinstance(reply, httpx.TransportError) and not isinstance(reply, httpx.UnsupportedProtocol):
            outcome, again, may_have_arrived = Unanswered(f"the answer was lost: {reply!r}"), True, True
        elif isinstance(reply, httpx.HTTPError):
            raise reply
        else:
            raise AssertionError("a request is answered with an answer or an error")
        failed += 1
        if not again or (backoff.attempts is not None and failed > backoff.attempts):
            if isinstance(outcome, list):
                return outcome
            if may_have_arrived and not isinstance(outcome, Refused):
                raise Unanswered(str(outcome)) from outcome
            raise outcome
        yield _Sleep(max(backoff.wait(failed, random.random()), again_after or 0.0))


def _single(outcomes: list[Outcome]) -> Receipt:
    (outcome,) = outcomes
    if isinstance(outcome, Refused):
        raise outcome
    return outcome


def _all(batches: Iterable[_Batch], send: Callable[[_Batch], list[Outcome]]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    queue = iter(batches)
    for batch in queue:
        try:
            outcomes += batch.all(send(batch) if batch.publications else [])
        except EventwireError as error:
            error.outcomes = tuple(outcomes)
            error.publications = _rest(batch, queue)
            raise
    return outcomes


def _rest(batch: _Batch, queue: Iterable[_Batch]) -> tuple[AnyPublication, ...]:
    return tuple(publication for it in (batch, *queue) for publication in it.every)


class _Head:
    """What every request carries."""

    def __init__(self, url: str, backoff: Backoff) -> None:
        self.server = Server(url)
        self.backoff = backoff
        self.token: str | None = None
        self.evicted = Evictions()

    def headers(self) -> dict[str, str]:
        headers = {"content-type": "application/json"}
        if self.token is not None:
            headers["authorization"] = f"Bearer {self.token}"
        return headers


class Publisher:
    """Publishes events. Threads may share one.

        with Publisher("http://127.0.0.1:4800") as publisher:
            publisher.publish(AdwTextBlockPublication(to="adw:29fb6a3e", data=AdwTextBlockData(...)))

    What fails for a reason that passes (no connection, a lost answer, 429, 503) is repeated with backoff and with the
    same keys, so that nothing is published twice. Order is kept: a call returns when its events are in the history.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:4800",
        *,
        token: TokenSource = None,
        backoff: Backoff = ATTEMPTS,
        timeout_seconds: float = 30.0,
        client: httpx.Client | None = None,
    ) -> None:
        """A publisher for the server at `url`, with an API key or a JWT if it wants one. `client` replaces the HTTP
        client, for proxies and certificates of your own; it is then yours to close."""
        self._head = _Head(url, backoff)
        self._source = token
        self._own = client is None
        # A proxy that the environment names is for other machines.
        self._client = client or httpx.Client(timeout=timeout_seconds, trust_env=not self._head.server.is_loopback)

    @property
    def evicted(self) -> Evictions:
        """How many entries the server dropped before their time since this publisher was made."""
        return self._head.evicted

    def publish(self, publication: AnyPublication) -> Receipt:
        """Publishes one event. Raises `Refused`, `Unreachable`, `Unanswered` or `Foreign`."""
        return _single(self.publish_all([publication]))

    def publish_all(self, publications: Iterable[AnyPublication]) -> list[Outcome]:
        """Publishes events in order, in as few requests as the server's limits allow. Each is accepted or refused by
        itself; the outcomes have the order of the events. Raises, as `publish` does, when a request failed as a whole;
        the error then holds the outcomes before it and the events without one."""
        return _all(_batches(publications), self._send)

    def _send(self, batch: _Batch) -> list[Outcome]:
        if self._head.token is None:
            self._refresh()
        steps = _attempts(batch, self._head.backoff)
        reply: _Reply = None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration as done:
                outcomes: list[Outcome] = done.value
                self._head.evicted += batch.evicted
                return outcomes
            reply = self._take(step)

    def _take(self, step: _Step) -> _Reply:
        if isinstance(step, _Sleep):
            time.sleep(step.seconds)
            return None
        if isinstance(step, _RefreshToken):
            return self._refresh() if callable(self._source) else False
        try:
            got = self._client.post(self._head.server.events, content=step.body, headers=self._head.headers())
        except httpx.HTTPError as error:
            return error
        return _Answer(got.status_code, got.headers, got.content)

    def _refresh(self) -> bool:
        self._head.token = stripped(self._source() if callable(self._source) else self._source)
        return True

    def close(self) -> None:
        """Closes the connections."""
        if self._own:
            self._client.close()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.close()


class AsyncPublisher:
    """Publishes events from asyncio; else as `Publisher`. Tasks may share one."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:4800",
        *,
        token: AsyncTokenSource = None,
        backoff: Backoff = ATTEMPTS,
        timeout_seconds: float = 30.0,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        """As `Publisher`."""
        self._head = _Head(url, backoff)
        self._source = token
        self._own = client is None
        self._client = client or httpx.AsyncClient(timeout=timeout_seconds, trust_env=not self._head.server.is_loopback)

    @property
    def evicted(self) -> Evictions:
        """How many entries the server dropped before their time since this publisher was made."""
        return self._head.evicted

    async def publish(self, publication: AnyPublication) -> Receipt:
        """As `Publisher.publish`."""
        return _single(await self.publish_all([publication]))

    async def publish_all(self, publications: Iterable[AnyPublication]) -> list[Outcome]:
        """As `Publisher.publish_all`."""
        outcomes: list[Outcome] = []
        queue = _batches(publications)
        for batch in queue:
            try:
                outcomes += batch.all(await self._send(batch) if batch.publications else [])
            except EventwireError as error:
                error.outcomes = tuple(outcomes)
                error.publications = _rest(batch, queue)
                raise
        return outcomes

    async def _send(self, batch: _Batch) -> list[Outcome]:
        if self._head.token is None:
            await self._refresh()
        steps = _attempts(batch, self._head.backoff)
        reply: _Reply = None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration as done:
                outcomes: list[Outcome] = done.value
                self._head.evicted += batch.evicted
                return outcomes
            reply = await self._take(step)

    async def _take(self, step: _Step) -> _Reply:
        if isinstance(step, _Sleep):
            await asyncio.sleep(step.seconds)
            return None
        if isinstance(step, _RefreshToken):
            return await self._refresh() if callable(self._source) else False
        try:
            got = await self._client.post(self._head.server.events, content=step.body, headers=self._head.headers())
        except httpx.HTTPError as error:
            return error
        return _Answer(got.status_code, got.headers, got.content)

    async def _refresh(self) -> bool:
        self._head.token = await token_of(self._source)
        return True

    async def aclose(self) -> None:
        """Closes the connections."""
        if self._own:
            await self._client.aclose()

    async def __aenter__(self) -> AsyncPublisher:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        await self.aclose()


async def token_of(source: AsyncTokenSource) -> str | None:
    """The token that a source gives now, without the line end of the file that it was read from."""
    if not callable(source):
        return stripped(source)
    given = source()
    return stripped(await given if inspect.isawaitable(given) else given)


def stripped(token: str | None) -> str | None:
    """A token without surrounding white space. Raises `ValueError` for one that no header can carry."""
    if token is None:
        return None
    token = token.strip()
    if not all("!" <= character <= "~" for character in token):
        raise ValueError("the token has characters that an Authorization header cannot carry; it is visible ASCII")
    return token
