"""Publishing: what is sent, what is repeated, and that nothing is there twice."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import Gateway, Proxy, api_key, free_port, gateway, run, soon

from eventwire import (
    AsyncPublisher,
    Backoff,
    Checkpoint,
    EventwireError,
    Evictions,
    Foreign,
    Listener,
    Outcome,
    Publisher,
    Receipt,
    Refused,
    Unanswered,
    Unreachable,
    VendorPublication,
)
from eventwire.models import (
    AdwTextBlockData,
    AdwTextBlockEvent,
    AdwTextBlockPublication,
    ChatWaitData,
    ChatWaitPublication,
)

AT_ONCE = Backoff(base_seconds=0.001, max_seconds=0.01, attempts=5)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("gateway")) as it:
        yield it


def text(content: str, adw: str = "29fb6a3e", **more: Any) -> AdwTextBlockPublication:
    return AdwTextBlockPublication(to=f"adw:{adw}", data=AdwTextBlockData(adw_id=adw, content=content), **more)


def order(number: int) -> VendorPublication:
    return VendorPublication(type="_shop.order_paid", to="room:orders", data={"order": number})


class Scripted:
    """A server that gives these answers, one after the other."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, type):
            raise answer("scripted", request=request)
        status, body, *headers = answer
        if callable(body):
            body = body(json.loads(request.content))
        return httpx.Response(status, json=body, headers=dict(*headers)) if body is not None else httpx.Response(status)

    def publish(self, *publications: Any, token: Any = None) -> list[Outcome]:
        """With the publisher of threads and with that of asyncio, which must send the same."""
        given = list(self.answers)
        with (
            Publisher(
                backoff=AT_ONCE, token=token, client=httpx.Client(transport=httpx.MockTransport(self))
            ) as publisher,
            publisher._client,
        ):
            try:
                outcomes: Any = publisher.publish_all(publications)
            except Exception as error:  # pylint: disable=broad-except
                outcomes = error
        sent, self.answers, self.requests = self.requests, given, []
        again = run(self._publish(publications, token))
        assert [_without_keys(it) for it in sent] == [_without_keys(it) for it in self.requests]
        self.requests = sent
        assert type(outcomes) is type(again)
        if isinstance(outcomes, Exception):
            assert str(outcomes) == str(again)
            raise outcomes
        result: list[Outcome] = outcomes
        return result

    async def _publish(self, publications: Any, token: Any) -> Any:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self))
        async with client, AsyncPublisher(backoff=AT_ONCE, token=token, client=client) as publisher:
            try:
                return await publisher.publish_all(publications)
            except Exception as error:  # pylint: disable=broad-except
                return error


def _without_keys(request: httpx.Request) -> Any:
    events = [{name: value for name, value in event.items() if name != "id"} for event in json.loads(request.content)]
    return request.method, str(request.url), request.headers.get("authorization"), events


def keys(request: httpx.Request) -> list[str]:
    return [event["id"] for event in json.loads(request.content)]


def taken(events: list[dict[str, Any]]) -> dict[str, Any]:
    results = [{"type": it["type"], "to": it["to"], "seq": at + 1} for at, it in enumerate(events)]
    return {"results": results}


def fault(code: str, **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": "why", **more}}


@pytest.mark.parametrize("kind", ["threads", "asyncio"])
def test_evicted_entries_are_counted_over_all_answers(kind: str) -> None:
    def evicting(newest_values: int, ids: int) -> Any:
        return lambda events: {**taken(events), "evicted": {"newest_values": newest_values, "ids": ids}}

    script = Scripted((202, evicting(2, 1)), (202, taken), (202, evicting(1, 0)))

    async def publish() -> Evictions:
        client = httpx.AsyncClient(transport=httpx.MockTransport(script))
        async with client, AsyncPublisher(client=client) as publisher:
            for _ in range(3):
                await publisher.publish(order(1))
            return publisher.evicted

    if kind == "asyncio":
        assert run(publish()) == Evictions(3, 1)
        return
    with httpx.Client(transport=httpx.MockTransport(script)) as client, Publisher(client=client) as publisher:
        assert publisher.evicted == Evictions()
        for _ in range(3):
            publisher.publish(order(1))
        assert publisher.evicted == Evictions(3, 1)


def test_what_passes_is_tried_again_with_the_same_keys() -> None:
    script = Scripted(
        httpx.ConnectError,
        httpx.ReadTimeout,
        (503, fault("unavailable")),
        (429, fault("rate_limited", retry_after_ms=1)),
        (502, None),
        (202, taken),
    )
    (receipt,) = script.publish(text("x"))
    assert isinstance(receipt, Receipt)
    assert (receipt.type, receipt.to, receipt.seq) == ("adw.text_block", "adw:29fb6a3e", 1)
    assert len(script.requests) == 6
    assert [keys(request) for request in script.requests] == [[receipt.id]] * 6
    assert {request.content for request in script.requests} == {script.requests[0].content}


def test_what_does_not_pass_is_not_tried_again() -> None:
    for status, code in [(400, "malformed_frame"), (403, "forbidden"), (413, "too_large"), (401, "unauthorized")]:
        script = Scripted((status, fault(code)), (202, taken))
        with pytest.raises(Refused) as caught:
            script.publish(text("x"))
        assert (caught.value.code, caught.value.message, caught.value.status) == (code, "why", status)
        assert len(script.requests) == 1


def test_an_error_of_one_event_is_its_outcome_and_the_order_is_kept() -> None:
    results = {"results": [{"seq": 7}, fault("fenced"), {"type": "chat.wait"}]}
    outcomes = Scripted((202, results)).publish(text("a"), text("b", expected_prev=1), text("c"))
    assert [it.seq if isinstance(it, Receipt) else it.code for it in outcomes] == [7, "fenced", None]
    with (
        pytest.raises(Refused, match="fenced: why"),
        Publisher(
            client=httpx.Client(transport=httpx.MockTransport(Scripted((422, {"results": [fault("fenced")]}))))
        ) as publisher,
        publisher._client,
    ):
        publisher.publish(text("x"))


def test_an_event_that_was_not_taken_for_now_is_sent_again_with_its_whole_batch() -> None:
    script = Scripted((202, {"results": [{"seq": 1}, fault("unavailable")]}), (202, taken))
    outcomes = script.publish(text("a"), text("b"))
    assert [it.seq for it in outcomes if isinstance(it, Receipt)] == [1, 2]
    assert keys(script.requests[0]) == keys(script.requests[1])


def test_the_last_failure_says_whether_anybody_knows_what_became_of_the_events() -> None:
    cases: list[tuple[list[Any], type[EventwireError]]] = [
        ([httpx.ConnectError] * 6, Unreachable),
        ([httpx.ReadError, *[httpx.ConnectError] * 5], Unanswered),
        ([httpx.ReadTimeout] * 6, Unanswered),
        ([(504, None), *[(503, None)] * 5], Unanswered),
        ([(503, None)] * 6, Foreign),
        ([(200, {"hello": "world"})], Foreign),
        ([(202, {"results": []})], Foreign),
        ([(404, None)], Foreign),
    ]
    for answers, kind in cases:
        script = Scripted(*answers)
        with pytest.raises(kind) as caught:
            script.publish(text("x"))
        (event,) = caught.value.publications
        assert len(script.requests) == len(answers)
        assert event.id is not None


def test_what_follows_a_failed_request_is_handed_back_with_its_keys() -> None:
    script = Scripted((202, taken), (413, fault("too_large")))
    with pytest.raises(Refused) as caught:
        script.publish(*(order(number) for number in range(2_500)))
    assert [len(keys(request)) for request in script.requests] == [1000, 1000]
    assert [it.seq for it in caught.value.outcomes if isinstance(it, Receipt)] == list(range(1, 1001))
    assert [it.data["order"] for it in caught.value.publications if isinstance(it, VendorPublication)] == list(
        range(1000, 2500)
    )
    assert len({it.id for it in caught.value.publications}) == 1500


def test_a_batch_is_cut_to_what_a_server_takes() -> None:
    script = Scripted(*[(202, taken)] * 3)
    outcomes = script.publish(*(text("é" * 450_000, time=None) for _ in range(20)))
    assert len(outcomes) == 20
    assert [len(keys(request)) for request in script.requests] == [9, 9, 2]
    assert all(len(request.content) <= 8 * 1024 * 1024 for request in script.requests)
    assert Scripted().publish() == []


def test_an_event_over_the_limit_is_refused_before_it_is_sent_and_the_others_are_sent() -> None:
    script = Scripted((202, taken))
    outcomes = script.publish(text("a"), text("x" * (1024 * 1024)), text("b"))
    assert [it.code if isinstance(it, Refused) else it.seq for it in outcomes] == [1, "too_large", 2]
    assert len(script.requests) == 1
    assert len(keys(script.requests[0])) == 2
    # None is left, so nothing is sent.
    with pytest.raises(Refused, match="1048576; it was not sent"):
        run(AsyncPublisher().publish(text("x" * (9 * 1024 * 1024))))


def test_half_a_surrogate_pair_is_replaced_in_a_text_and_refused_in_a_key() -> None:
    script = Scripted((202, taken))
    cut = VendorPublication(
        type="_shop.order_paid",
        to="room:orders",
        data={"a": "cut \ud83d", "b": [{"c": "\ude00!"}], "d": "\ud83d\ude00"},
    )
    key = VendorPublication(type="_shop.order_paid", to="room:orders", data={"a": {"cut \ud83d": 1}})
    outcomes = script.publish(text("first \ud83d"), cut, key, text("last"))
    assert [it.code if isinstance(it, Refused) else it.seq for it in outcomes] == [1, 2, "invalid_payload", 3]
    refused = outcomes[2]
    assert isinstance(refused, Refused)
    assert "the key 'cut \\ud83d' of data.a has half a surrogate pair" in refused.message
    first, second, _ = json.loads(script.requests[0].content)
    assert first["data"]["content"] == "first \ufffd"
    assert second["data"] == {"a": "cut \ufffd", "b": [{"c": "\ufffd!"}], "d": "\U0001f600"}


def test_a_token_that_no_header_can_carry_is_refused_with_what_is_wrong() -> None:
    for wrong in ("two\nlines", "caf\u00e9", "cut\ud83d"):
        with pytest.raises(ValueError, match="visible ASCII"):
            Scripted().publish(text("x"), token=wrong)


def test_a_token_that_is_refused_is_fetched_anew_once() -> None:
    given = iter(range(10))
    script = Scripted((401, fault("unauthorized")), (202, taken))
    tokens: Callable[[], str] = lambda: f"token{next(given) % 2}"  # noqa: E731
    assert isinstance(script.publish(text("x"), token=tokens)[0], Receipt)
    assert [it.headers["authorization"] for it in script.requests] == ["Bearer token0", "Bearer token1"]
    script = Scripted((401, fault("unauthorized")), (401, fault("unauthorized")))
    with pytest.raises(Refused, match="unauthorized"):
        script.publish(text("x"), token=lambda: "old")
    assert len(script.requests) == 2
    script = Scripted((401, fault("unauthorized")))
    with pytest.raises(Refused, match="unauthorized"):
        script.publish(text("x"), token="fixed")


def test_the_server_says_how_long_to_wait() -> None:
    script = Scripted((429, fault("rate_limited"), {"retry-after": "1"}), (202, taken))
    began = time.monotonic()
    script.publish(text("x"))
    # Twice: with threads and with asyncio.
    assert time.monotonic() - began >= 2


def test_what_is_no_publication_is_refused_before_it_is_sent() -> None:
    for wrong in ({"type": "adw.text_block"}, AdwTextBlockData(adw_id="29fb6a3e", content="x"), None):
        with pytest.raises(TypeError, match=r"\.\.\.Publication"):
            Scripted().publish(wrong)
    for url in ("127.0.0.1:4800", "ftp://h", "http://", "http://h?x=1", "http://a:b@h"):
        with pytest.raises(ValueError, match="address"):
            Publisher(url)


def test_what_the_application_made_is_left_as_it_is_and_its_own_key_is_used() -> None:
    mine = text("x")
    assert isinstance(Scripted((202, taken)).publish(mine)[0], Receipt)
    assert (mine.id, "id" in mine.to_wire()) == (None, False)
    (receipt,) = Scripted((202, taken)).publish(text("x", id="mine.1"))
    assert isinstance(receipt, Receipt)
    assert receipt.id == "mine.1"


# Against a gateway ----------------------------------------------------------------------------------------------------


def test_one_and_many_are_published_and_answered_in_order(server: Gateway) -> None:
    with Publisher(server.url) as publisher:
        first = publisher.publish(text("one"))
        outcomes = publisher.publish_all([text("two"), order(1), text("three", expected_prev=1)])
    assert first.seq is not None
    two, vendor, fenced = outcomes
    assert isinstance(two, Receipt)
    assert isinstance(vendor, Receipt)
    assert isinstance(fenced, Refused)
    assert (two.seq, vendor.seq, vendor.type) == (first.seq + 1, first.seq + 2, "_shop.order_paid")
    assert fenced.code == "fenced"
    assert not fenced.retryable


def test_the_same_key_gets_the_first_answer_and_another_body_is_a_conflict(server: Gateway) -> None:
    with Publisher(server.url) as publisher:
        first, again = (publisher.publish(text("same", id="key.1")) for _ in range(2))
        assert first == again
        with pytest.raises(Refused, match="conflict"):
            publisher.publish(text("other", id="key.1"))


def test_half_a_surrogate_pair_is_read_back_as_the_replacement_character(server: Gateway) -> None:
    async def scenario() -> None:
        async with AsyncPublisher(server.url) as publisher:
            outcomes = await publisher.publish_all(
                [text("cut \ud83d", "surrogat"), text("x" * (1024 * 1024), "surrogat"), text("end", "surrogat")]
            )
        assert [isinstance(it, Receipt) for it in outcomes] == [True, False, True]
        async with Listener(server.url, resume=Checkpoint(None, {"adw:surrogat": 0})) as listener:
            read: list[str] = []
            while "end" not in read:
                item = await soon("the events", anext(listener))
                if isinstance(item, AdwTextBlockEvent):
                    read.append(item.data.content)
        assert read == ["cut \ufffd", "end"]

    run(scenario())


def test_what_is_not_logged_has_a_receipt_without_a_number(server: Gateway) -> None:
    wait = ChatWaitPublication(to="session:planning", data=ChatWaitData(content="Thinking"))
    with Publisher(server.url) as publisher:
        assert publisher.publish(wait).seq is None


def test_a_server_that_is_not_there_is_said_so() -> None:
    with (
        Publisher(f"http://127.0.0.1:{free_port()}", backoff=Backoff(attempts=0)) as publisher,
        pytest.raises(Unreachable),
    ):
        publisher.publish(text("x"))


def test_answers_that_are_lost_publish_nothing_twice(server: Gateway) -> None:
    async def scenario() -> None:
        async with (
            Proxy(lambda: server.port).running() as proxy,
            AsyncPublisher(proxy.url, backoff=AT_ONCE) as publisher,
        ):
            receipts = []
            for number in range(30):
                proxy.swallow_answers = number % 3
                receipts.append(await publisher.publish(text(f"lost {number}", "losttail")))
        seqs = [receipt.seq for receipt in receipts]
        assert None not in seqs
        assert seqs == sorted(set(seqs), key=int)  # type: ignore[arg-type]
        # The stream's chain names every event of it: what was taken twice would stand between.
        probe = text("end", "losttail", expected_prev=seqs[-1])
        async with AsyncPublisher(server.url) as publisher:
            await publisher.publish(probe)
        assert proxy.connections >= 30
        async with Listener(server.url, resume=Checkpoint(None, {"adw:losttail": 0})) as listener:
            read: list[str] = []
            while "end" not in read:
                item = await soon("the events", anext(listener))
                if isinstance(item, AdwTextBlockEvent):
                    read.append(item.data.content)
        assert read == [*(f"lost {number}" for number in range(30)), "end"]

    run(scenario())


def test_a_gateway_that_comes_back_is_published_to_without_the_application_noticing(tmp_path: Path) -> None:
    with gateway(tmp_path) as server:

        async def scenario() -> None:
            backoff = Backoff(base_seconds=0.05, max_seconds=0.2)
            async with AsyncPublisher(server.url, backoff=backoff) as publisher:
                await publisher.publish(text("before"))
                await asyncio.to_thread(server.kill)
                waiting = asyncio.ensure_future(publisher.publish(text("after")))
                await asyncio.sleep(0.3)
                assert not waiting.done()
                await asyncio.to_thread(server.start)
                assert (await soon("the receipt", waiting)).seq == 1, "of another history"

        run(scenario())


def test_a_key_opens_what_its_entry_grants(tmp_path: Path) -> None:
    key = api_key(tmp_path, "publish", adw="29fb6a3e")
    with gateway(tmp_path, "--api-keys-file", "keys.toml") as server:
        with Publisher(server.url, token=f"{key}\n") as publisher:
            assert publisher.publish(text("mine")).seq == 1
            with pytest.raises(Refused, match="forbidden") as caught:
                publisher.publish(text("not mine", "other123"))
            assert caught.value.code == "forbidden"
        for token in (None, "wrong"):
            with Publisher(server.url, token=token) as publisher, pytest.raises(Refused) as caught:
                publisher.publish(text("x"))
            assert (caught.value.code, caught.value.status) == ("unauthorized", 401)
