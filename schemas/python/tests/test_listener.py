"""Listening against a gateway as a user starts it: connections that break at any byte, a gateway that is killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Gateway, Proxy, api_key, eventually, gateway, run, soon
from websockets.asyncio.server import ServerConnection, serve

import eventwire.listener
from eventwire import (
    Backoff,
    Checkpoint,
    Closed,
    Connected,
    Connecting,
    Fallback,
    Gap,
    Item,
    Listener,
    Reconnecting,
    Target,
    TargetItems,
    TargetRefused,
    Transport,
    UnknownEvent,
)
from eventwire.models import (
    AdwTextBlockEvent,
    ConnectionClosingEvent,
    ConnectionErrorEvent,
    ConnectionRecoveredEvent,
    ConnectionReplayingEvent,
)

AT_ONCE = Backoff(base_seconds=0.01, max_seconds=0.05)
ADW = "adw:29fb6a3e"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("gateway")) as it:
        yield it


def text(content: str, adw: str = ADW) -> dict[str, Any]:
    return {"type": "adw.text_block", "to": adw, "data": {"adw_id": adw[4:], "content": content}}


async def until(listener: Listener, what: type[Item] | str) -> list[Item]:
    """The items up to one of a class, or up to a text block with that content."""
    items: list[Item] = []
    while True:
        item = await soon(f"an item before {what} (so far {items[-3:]})", anext(listener))
        items.append(item)
        if isinstance(item, AdwTextBlockEvent) and item.data.content == what:
            return items
        if not isinstance(what, str) and isinstance(item, what):
            return items


async def subscribed(listener: Listener, server: Gateway, adw: str = ADW) -> None:
    """Waits until the listener receives a target."""
    reading = asyncio.ensure_future(until(listener, "ready"))
    number = 0
    while not reading.done():
        # What comes before the subscription is not for us, so it is said until it is heard.
        await asyncio.to_thread(server.post, text("ready", adw))
        await asyncio.sleep(0.02)
        number += 1
        assert number < 500
    await reading


def contents(items: list[Item]) -> list[str]:
    return [item.data.content for item in items if isinstance(item, AdwTextBlockEvent) and item.data.content != "ready"]


def gaps(items: list[Item]) -> list[Gap]:
    return [item for item in items if isinstance(item, Gap)]


def test_events_come_in_order_as_their_classes(server: Gateway) -> None:
    async def scenario() -> None:
        async with Listener(server.url, [ADW, "room:orders"]) as listener:
            first, second = [await anext(listener) for _ in range(2)]
            assert isinstance(first, Connecting)
            assert isinstance(second, Connected)
            assert second.welcome.protocol == "v1"
            await subscribed(listener, server)
            order = {"type": "_shop.order_paid", "to": "room:orders", "data": {"order": 17}}
            server.post(text("a"), order, text("b"), text("end"))
            items = await until(listener, "end")
        assert contents(items) == ["a", "b", "end"]
        (vendor,) = [item for item in items if isinstance(item, UnknownEvent)]
        assert (vendor.type, vendor.data) == ("_shop.order_paid", {"order": 17})
        rest = [item async for item in listener]
        assert rest == [Closed(1000, "closed by the application")]

    run(scenario())


def test_sixty_cuts_at_any_byte_lose_nothing_and_repeat_nothing(server: Gateway) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)

    async def publish(proxy: Proxy, cuts: list[int]) -> None:
        for number in range(600):
            await asyncio.to_thread(server.post, text(f"{number}", "adw:cutcutcu"))
            if number % 10 == 0:
                proxy.cut_after = chance.randrange(1, 3000)
                cuts.append(number)
        await asyncio.to_thread(server.post, text("end", "adw:cutcutcu"))

    async def scenario() -> None:
        cuts: list[int] = []
        async with Proxy(lambda: server.port).running() as proxy:
            resume = Checkpoint(None, {"adw:cutcutcu": 0})
            async with Listener(proxy.url, resume=resume, backoff=AT_ONCE) as listener:
                await until(listener, Connected)
                publishing = asyncio.ensure_future(publish(proxy, cuts))
                items = await until(listener, "end")
                await publishing
        assert contents(items) == [*(f"{number}" for number in range(600)), "end"]
        assert gaps(items) == []
        again = sum(isinstance(item, Reconnecting) for item in items)
        assert again >= 10, f"{again} connections broke"

    try:
        run(scenario())
    except BaseException:
        print(f"seed {seed}")
        raise


def test_a_gateway_that_is_killed_and_comes_back_is_another_history_and_says_so(tmp_path: Path) -> None:
    async def scenario(server: Gateway) -> None:
        async with Listener(server.url, [ADW], backoff=AT_ONCE) as listener:
            await subscribed(listener, server)
            server.post(*(text(f"old {number}") for number in range(50)), text("last"))
            items = await until(listener, "last")
            await asyncio.to_thread(server.kill)
            items += await until(listener, Reconnecting)
            await asyncio.to_thread(server.start)
            server.post(*(text(f"new {number}") for number in range(50)), text("end"))
            items += await until(listener, "end")
            server.post(text("live"))
            items += await until(listener, "live")
        expected = [f"old {n}" for n in range(50)] + ["last"] + [f"new {n}" for n in range(50)] + ["end", "live"]
        assert contents(items) == expected
        assert sorted(gaps(items), key=lambda gap: gap.stream) == [
            Gap(ADW, "epoch_changed"),
            Gap("global", "epoch_changed"),
        ]
        at = next(number for number, item in enumerate(items) if isinstance(item, Gap))
        assert contents(items[:at])[-1] == "last", "the gap stands between the histories"

    with gateway(tmp_path) as server:
        run(scenario(server))


def test_a_gateway_that_leaves_says_when_to_return(tmp_path: Path) -> None:
    async def scenario(server: Gateway) -> None:
        async with Listener(server.url, [ADW], backoff=AT_ONCE) as listener:
            await subscribed(listener, server)
            await asyncio.to_thread(server.stop)
            items = await until(listener, Reconnecting)
            (closing,) = [item for item in items if isinstance(item, ConnectionClosingEvent)]
            again = items[-1]
            assert isinstance(again, Reconnecting)
            assert (again.code, again.after_seconds) == (1012, (closing.data.reconnect_after_ms or 0) / 1000)
            await asyncio.to_thread(server.start)
            await until(listener, Connected)

    with gateway(tmp_path) as server:
        run(scenario(server))


def test_history_that_is_gone_is_a_gap(server: Gateway) -> None:
    async def scenario() -> None:
        # The default keeps 20,000 events of a run; what is larger than its bytes goes sooner.
        large = [text("x" * 900_000, "adw:gapgapga") for _ in range(8)]
        async with Listener(server.url, ["adw:gapgapga"]) as listener:
            await subscribed(listener, server, "adw:gapgapga")
            checkpoint = listener.checkpoint()
        for _ in range(6):
            await asyncio.to_thread(server.post, *large)
        await asyncio.to_thread(server.post, text("end", "adw:gapgapga"))
        async with Listener(server.url, resume=checkpoint) as listener:
            items = await until(listener, "end")
        (gap,) = gaps(items)
        assert (gap.stream, gap.reason) == ("adw:gapgapga", "expired")
        assert gap.from_seq is not None
        assert gap.to_seq is not None
        first = next(item for item in items if isinstance(item, AdwTextBlockEvent))
        assert gap.from_seq <= gap.to_seq < first.seq

    run(scenario())


def test_a_checkpoint_goes_on_in_another_listener_wherever_the_first_stopped(server: Gateway) -> None:
    async def scenario() -> None:
        adw = "adw:checkpoi"
        server.post(*(text(f"{number}", adw) for number in range(40)), text("end", adw))
        checkpoint = Checkpoint(None, {adw: 0})
        read: list[str] = []
        while "end" not in read:
            async with Listener(server.url, resume=checkpoint) as listener:
                async for item in listener:
                    read += contents([item])
                    if contents([item]) and (len(read) % 7 == 0 or "end" in read):
                        break
                checkpoint = Checkpoint.from_json(listener.checkpoint().to_json())
        assert read == [*(f"{number}" for number in range(40)), "end"]

    run(scenario())


def test_asking_for_items_may_be_cancelled_at_any_time(server: Gateway) -> None:
    async def scenario() -> None:
        adw = "adw:cancelle"
        items: list[Item] = []
        cancelled = 0
        async with Listener(server.url, [adw]) as listener:
            await subscribed(listener, server, adw)
            publishing = asyncio.ensure_future(
                asyncio.to_thread(server.post, *(text(f"{number}", adw) for number in range(300)), text("end", adw))
            )
            while "end" not in contents(items):
                try:
                    items.append(await asyncio.wait_for(anext(listener), random.choice([0.0, 0.0001, 0.001])))
                except asyncio.TimeoutError:
                    cancelled += 1
                    await asyncio.sleep(0.0005)
            await publishing
        assert cancelled > 5
        assert contents(items) == [*(f"{number}" for number in range(300)), "end"]

    run(scenario())


def test_an_application_that_is_slow_gets_everything(server: Gateway) -> None:
    async def scenario() -> None:
        adw = "adw:slowslow"
        async with Listener(server.url, [adw], backoff=AT_ONCE) as listener:
            await subscribed(listener, server, adw)
            for _ in range(10):
                await asyncio.to_thread(server.post, *(text("x" * 10_000, adw) for _ in range(100)))
            await asyncio.to_thread(server.post, text("end", adw))
            # Nobody has asked for an item so long.
            await asyncio.sleep(1)
            items = await until(listener, "end")
        assert len(contents(items)) == 1001
        assert gaps(items) == []

    run(scenario())


def test_targets_come_and_go_and_hold_over_reconnects(server: Gateway) -> None:
    async def scenario() -> None:
        one, two = "adw:targetaa", "adw:targetbb"
        seqs = [it["seq"] for it in server.post(text("1", one), text("2", one), text("3", one))]
        async with (
            Proxy(lambda: server.port).running() as proxy,
            Listener(proxy.url, [two], backoff=AT_ONCE) as listener,
        ):
            await subscribed(listener, server, two)
            await listener.subscribe(one, since=seqs[0])
            items = await until(listener, "3")
            assert contents(items) == ["2", "3"]
            kinds = [type(item) for item in items]
            assert ConnectionReplayingEvent in kinds
            items += await until(listener, ConnectionRecoveredEvent)
            proxy.cut()
            items = await until(listener, Connected)
            server.post(text("4", one), text("5", two))
            items = await until(listener, "5")
            assert contents(items) == ["4", "5"]
            await listener.unsubscribe(one)
            proxy.cut()
            await until(listener, Connected)
            server.post(text("6", one), text("7", two))
            assert contents(await until(listener, "7")) == ["7"]

    run(scenario())


def test_what_a_key_does_not_reach_is_refused_by_name(tmp_path: Path) -> None:
    key = api_key(tmp_path, adw="29fb6a3e")

    async def scenario(server: Gateway) -> None:
        async with Listener(server.url, [ADW, "adw:other123"], token=key) as listener:
            items = await until(listener, TargetRefused)
            refused = items[-1]
            assert isinstance(refused, TargetRefused)
            assert (refused.to, refused.code) == ("adw:other123", "forbidden")
        async with Listener(server.url, [ADW], token="wrong") as listener:
            items = [item async for item in listener]
            assert [type(item) for item in items] == [Connecting, Closed]
            closed = items[-1]
            assert isinstance(closed, Closed)
            assert closed.code == 401
            assert "credentials" in closed.reason or "key" in closed.reason
        given = iter(["expired", f"{key}\n"])

        async def fetch() -> str:
            return next(given)

        async with Listener(server.url, [ADW], token=fetch) as listener:
            items = await until(listener, Connected)
            assert [type(item) for item in items] == [Connecting, Reconnecting, Connecting, Connected]
            # In place: refused, and the old one stays.
            await listener.authenticate("nonsense")
            (error,) = [
                it for it in await until(listener, ConnectionErrorEvent) if isinstance(it, ConnectionErrorEvent)
            ]
            assert error.data.code == "unauthorized"
            await listener.authenticate(f" {key}\n")
            await asyncio.to_thread(server.kill)
            await until(listener, Reconnecting)
            await asyncio.to_thread(server.start)
            await until(listener, Connected)

    with gateway(tmp_path, "--api-keys-file", "keys.toml") as server:
        run(scenario(server))


def test_what_is_no_target_and_no_address_is_refused_at_once() -> None:
    for wrong in ("adw", "adw:", "everything", "connection:c0000000000000001", f"session:~{'0' * 32}"):
        with pytest.raises(ValueError, match=r"session|target"):
            Listener(targets=[wrong])
    with pytest.raises(TypeError):
        Listener(targets="adw:29fb6a3e")
    with pytest.raises(ValueError, match="address"):
        Listener("127.0.0.1:4800")


NO_UPGRADES = b"HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def test_a_proxy_without_upgrades_is_explained_and_events_come_over_an_event_stream(server: Gateway) -> None:
    async def scenario() -> None:
        one, two = "adw:ssessseo", "adw:ssesssew"
        seq = server.post(text("1", one), text("2", one))[0]["seq"]
        async with Proxy(lambda: server.port).running() as proxy:
            proxy.answers[b"/v1/ws"] = NO_UPGRADES
            fallback = Fallback(return_after_seconds=3)
            async with Listener(proxy.url, [Target(one, seq)], backoff=AT_ONCE, fallback=fallback) as listener:
                items = await until(listener, "2")
                again, *_ = [item for item in items if isinstance(item, Reconnecting)]
                assert (again.code, again.cause, again.over) == (426, "refused", Transport.SSE)
                assert "does not pass the header Upgrade on" in again.reason
                over = [item.over for item in items if isinstance(item, Connecting)]
                assert over[0] is Transport.WEBSOCKET
                assert over[-1] is Transport.SSE
                # Another target, while the line breaks: nothing is lost and nothing comes twice.
                await listener.subscribe(two, since=0)
                for number in range(20):
                    server.post(text(f"a {number}", one), text(f"b {number}", two))
                    items += await until(listener, f"b {number}")
                    if number % 5 == 4:
                        proxy.cut()
                assert contents(items) == ["2", *(f"{name} {n}" for n in range(20) for name in "ab")]
                assert b"/v1/sse" in proxy.asked
                # The WebSocket is tried again beside the event stream; when it opens, it carries the rest.
                proxy.answers.clear()
                while listener._session.over is not Transport.WEBSOCKET:
                    server.post(text("tick", one))
                    items = await until(listener, "tick")
                    await asyncio.sleep(0.02)
                server.post(text("end", one), text("end", two))
                assert gaps(await until(listener, "end")) == []
                await listener.unsubscribe(two)

    run(scenario())


def test_thirty_cuts_of_an_event_stream_lose_nothing_and_repeat_nothing(server: Gateway) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)

    async def publish(proxy: Proxy) -> None:
        for number in range(300):
            await asyncio.to_thread(server.post, text(f"{number}", "adw:ssecutss"))
            if number % 10 == 0:
                proxy.cut_after = chance.randrange(1, 1000)
        await asyncio.to_thread(server.post, text("end", "adw:ssecutss"))

    async def scenario() -> None:
        async with Proxy(lambda: server.port).running() as proxy:
            targets = {"adw:ssecutss": 0}
            listening = Listener(proxy.url, targets, backoff=AT_ONCE, transports=[Transport.SSE])
            async with listening as listener:
                await until(listener, Connected)
                publishing = asyncio.ensure_future(publish(proxy))
                items = await until(listener, "end")
                await publishing
        assert contents(items) == [*(f"{number}" for number in range(300)), "end"]
        assert gaps(items) == []
        assert sum(isinstance(item, Reconnecting) for item in items) >= 8

    try:
        run(scenario())
    except BaseException:
        print(f"seed {seed}")
        raise


def test_a_hundred_rows_that_come_and_go_stay_within_the_limits(server: Gateway) -> None:
    async def row(listener: Listener, number: int) -> None:
        await listener.subscribe(f"adw:row{number:05}")
        if number >= 50:
            await listener.unsubscribe(f"adw:row{number:05}")
            await listener.subscribe(f"adw:row{number:05}")

    async def scenario() -> None:
        async with Listener(server.url, [ADW]) as listener:
            await subscribed(listener, server)
            for _ in range(3):
                for number in range(100):
                    # One after the other: each in a turn of its own.
                    await row(listener, number)
                await asyncio.gather(*(row(listener, number) for number in range(100)))
            for number in (0, 49, 99):
                await subscribed(listener, server, f"adw:row{number:05}")
            server.post(text("end"))
            items = await until(listener, "end")
            assert not [item for item in items if isinstance(item, (Reconnecting, ConnectionErrorEvent, Gap))]

    run(scenario())


def test_two_tasks_each_read_their_own_target(server: Gateway) -> None:
    async def read(items: TargetItems) -> list[Item]:
        taken: list[Item] = []
        async for item in items:
            taken.append(item)
            if isinstance(item, AdwTextBlockEvent) and item.data.content == "end":
                break
        return taken

    async def scenario() -> None:
        one, two, rest = "adw:scopeone", "adw:scopetwo", "adw:scoperes"
        server.post(*(text(f"old {n}", one) for n in range(5)))
        async with (
            Proxy(lambda: server.port).running() as proxy,
            Listener(proxy.url, {rest: 0}, backoff=AT_ONCE) as listener,
            listener.target(one, since=0) as first,
            listener.target(two, since=0) as second,
        ):
            reading = [asyncio.ensure_future(read(it)) for it in (first, second)]
            for number in range(200):
                events = [text(f"{number}", one), text(f"{number}", two), text(f"{number}", rest)]
                await asyncio.to_thread(server.post, *events)
                if number % 50 == 49:
                    proxy.cut()
            await asyncio.to_thread(server.post, text("end", one), text("end", two), text("end", rest))
            both = [await soon("both targets", it) for it in reading]
            others = await until(listener, "end")
        numbers = [f"{n}" for n in range(200)]
        assert contents(both[0]) == [*(f"old {n}" for n in range(5)), *numbers, "end"]
        assert contents(both[1]) == [*numbers, "end"]
        assert contents(others) == [*numbers, "end"]
        for items in (*both, others):
            assert any(isinstance(item, Reconnecting) for item in items), "states come to all"

    run(scenario())


def test_gaps_and_refusals_come_to_the_reader_of_their_target(tmp_path: Path) -> None:
    key = api_key(tmp_path, adw="29fb6a3e")

    async def scenario(server: Gateway) -> None:
        async with (
            Listener(server.url, token=key, backoff=AT_ONCE) as listener,
            listener.target(ADW) as mine,
            listener.target("adw:other123") as other,
        ):
            refused = asyncio.ensure_future(anext(it async for it in other if isinstance(it, (TargetRefused, Gap))))
            gap = asyncio.ensure_future(anext(it async for it in mine if isinstance(it, (TargetRefused, Gap))))
            assert await soon("the refusal", refused) == TargetRefused(
                "adw:other123",
                "forbidden",
                refused.result().message,  # type: ignore[union-attr]
            )
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            assert await soon("the gap", gap) == Gap(ADW, "epoch_changed")

    with gateway(tmp_path, "--api-keys-file", "keys.toml") as server:
        run(scenario(server))


def test_connections_that_deliver_do_not_use_up_the_attempts(server: Gateway) -> None:
    async def scenario() -> None:
        adw = "adw:attempts"
        async with Proxy(lambda: server.port).running() as proxy:
            # No connection of this test lasts so long that it counts for that.
            backoff = Backoff(base_seconds=3_600, max_seconds=0.02, stable_after_seconds=3_600, attempts=1)
            async with Listener(proxy.url, {adw: 0}, backoff=backoff) as listener:
                for number in range(8):
                    server.post(text(f"{number}", adw))
                    items = await until(listener, f"{number}")
                    assert [item.attempt for item in items if isinstance(item, Reconnecting)] == [1] * (number > 0)
                    proxy.cut()

    run(scenario())


def test_a_proxy_that_holds_everything_back_is_named(server: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventwire.listener, "CONNECT_SECONDS", 1.0)

    async def scenario() -> None:
        async with (
            Proxy(lambda: server.port).running() as proxy,
            Listener(proxy.url, [ADW], backoff=AT_ONCE) as listener,
        ):
            proxy.holds_answers = True
            items = await until(listener, Reconnecting)
            assert isinstance(items[-1], Reconnecting)
            assert (items[-1].cause, items[-1].code) == ("silent", 1006)
            assert "a proxy on the way may hold it back" in items[-1].reason
            proxy.holds_answers = False
            await until(listener, Connected)

    run(scenario())


def test_after_a_sleep_of_the_machine_the_line_is_probed_at_once(
    server: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventwire.listener, "SLICE_SECONDS", 0.05)
    monkeypatch.setattr(eventwire.listener, "PROBE_SECONDS", 1.0)

    async def scenario() -> None:
        wall = 1_000.0
        async with (
            Proxy(lambda: server.port).running() as proxy,
            Listener(proxy.url, [ADW], backoff=AT_ONCE) as listener,
        ):
            listener._wall = lambda: wall
            await subscribed(listener, server)
            waiting = asyncio.ensure_future(anext(listener))
            for step in (-3_600.0, 3_600.0):
                # Set back: that is no time. Set forward, as after a sleep: the line answers and stays.
                wall += step
                done, _ = await asyncio.wait({waiting}, timeout=1.5)
                assert not done
            assert proxy.connections == 1
            proxy.holds_answers = True
            wall += 3_600
            ended = await soon("the end of a dead line", waiting)
            assert isinstance(ended, Reconnecting)
            assert ended.cause == "silent"
            proxy.holds_answers = False
            await until(listener, Connected)

    run(scenario())


# Against a server that misbehaves -------------------------------------------------------------------------------------


def frame(kind: str, **data: Any) -> str:
    time = "2026-11-20T23:40:01Z"
    return json.dumps({"type": f"connection.{kind}", "time": time, "to": "connection:c0000000000000001", "data": data})


WELCOME = frame(
    "welcome",
    connection_id="c0000000000000001",
    protocol="v1",
    epoch="00000000000000aa",
    server="scripted",
    server_time="2026-11-20T23:40:01Z",
    permissions=[],
    heartbeat_interval_ms=1,
    limits={"max_frame_bytes": 65536, "max_subscriptions": 256, "commands_per_second": 32, "command_burst": 64},
)


@contextlib.asynccontextmanager
async def scripted(*ends: int | str | None) -> AsyncIterator[tuple[str, list[str | None]]]:
    """A server whose connections end like this, one after the other: a close code, silence, or nothing at all."""
    asked: list[str | None] = []
    script = list(ends)

    async def handler(socket: ServerConnection) -> None:
        asked.append(socket.request.headers.get("authorization") if socket.request else None)
        end = script.pop(0) if len(script) > 1 else script[0]
        if end == "mute":
            await socket.wait_closed()
            return
        await socket.send(WELCOME)
        await socket.recv()
        if end == "binary":
            await socket.send(b"\0")
        if isinstance(end, int):
            await socket.close(end, "scripted")
        await socket.wait_closed()

    async with serve(handler, "127.0.0.1", 0, subprotocols=[eventwire.listener.SUBPROTOCOL], close_timeout=0.1) as it:
        port = next(iter(it.sockets)).getsockname()[1]
        yield f"http://127.0.0.1:{port}", asked


def test_a_code_says_whether_the_listener_returns() -> None:
    async def scenario() -> None:
        for code in (1000, 1008, 4000, 4001, 4003, 4009):
            async with scripted(code) as (url, asked), Listener(url, backoff=AT_ONCE) as listener:
                items = [item async for item in listener]
                assert [type(item) for item in items] == [Connecting, Connected, Closed]
                assert items[-1] == Closed(code, "scripted")
                assert len(asked) == 1
        codes = (1001, 1012, 1013, 4002, 4008, 4029, 4711)
        async with scripted(*codes, 1000) as (url, asked), Listener(url, backoff=AT_ONCE) as listener:
            items = [item async for item in listener]
            assert [item.code for item in items if isinstance(item, Reconnecting)] == list(codes)
            assert len(asked) == len(codes) + 1

    run(scenario())


def test_a_token_that_expired_is_fetched_anew() -> None:
    async def scenario() -> None:
        given = iter(range(100))
        async with (
            scripted(4001, 1012, 4001, 1000) as (url, asked),
            Listener(url, token=lambda: f"token{next(given)}", backoff=AT_ONCE) as listener,
        ):
            async for _ in listener:
                pass
            # A connection that is lost for another reason keeps its token.
            assert asked == ["Bearer token0", "Bearer token1", "Bearer token1", "Bearer token2"]

    run(scenario())


def test_a_server_that_says_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventwire.listener, "CONNECT_SECONDS", 0.3)

    async def scenario() -> None:
        async with scripted("mute", "binary", None, 1000) as (url, asked), Listener(url, backoff=AT_ONCE) as listener:
            items = [item async for item in listener]
            reasons = [item.reason for item in items if isinstance(item, Reconnecting)]
            assert reasons == [
                "the connection is open, but nothing arrived within 0.3 s of its opening; "
                "a proxy on the way may hold it back",
                "the server sent a binary frame",
                "the connection is open, but nothing arrived for 0.302 s",
            ]
            causes = [item.cause for item in items if isinstance(item, Reconnecting)]
            assert causes == ["silent", "lost", "silent"]
            assert len(asked) == 4

    run(scenario())


def test_an_application_that_was_busy_is_no_silence_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventwire.listener, "CONNECT_SECONDS", 0.3)

    async def scenario() -> None:
        async with scripted(1000) as (url, asked), Listener(url, backoff=AT_ONCE) as listener:
            items = []
            async for item in listener:
                items.append(item)
                await asyncio.sleep(0.5)
            assert [type(item) for item in items] == [Connecting, Connected, Closed]
            assert len(asked) == 1

    run(scenario())


def test_a_server_that_is_full_says_over_an_event_stream_when_to_return() -> None:
    async def full(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        writer.write(head + b"retry: 1234\n\n")
        await writer.drain()
        writer.close()

    async def scenario() -> None:
        async with await asyncio.start_server(full, "127.0.0.1", 0) as it:
            url = f"http://127.0.0.1:{it.sockets[0].getsockname()[1]}"
            async with Listener(url, transports=[Transport.SSE]) as listener:
                again = (await until(listener, Reconnecting))[-1]
                assert isinstance(again, Reconnecting)
                assert (again.after_seconds, again.reason) == (1.234, "the server ended the event stream")

    run(scenario())


def test_it_is_given_up_after_the_attempts_that_were_allowed() -> None:
    async def scenario() -> None:
        backoff = Backoff(base_seconds=0.001, max_seconds=0.01, attempts=3)
        async with Proxy(lambda: 9).running() as proxy, Listener(proxy.url, backoff=backoff) as listener:
            items = [item async for item in listener]
            assert [item.attempt for item in items if isinstance(item, Reconnecting)] == [1, 2, 3]
            last = items[-1]
            assert isinstance(last, Closed)
            assert last.code == 1006
            assert last.reason.startswith("gave up after 3 attempts")
            assert proxy.connections == 4

    run(scenario())


def test_a_listener_that_waits_is_closed_at_once() -> None:
    async def scenario() -> None:
        long = Backoff(base_seconds=10_000, max_seconds=10_000)
        for url_of_nobody in (True, False):
            async with scripted(None) as (url, _), Proxy(lambda: 9).running() as nobody:
                listener = Listener(nobody.url if url_of_nobody else url, backoff=long)
                items: list[Item] = []

                async def read(listener: Listener = listener, items: list[Item] = items) -> None:
                    async for item in listener:
                        items.append(item)

                reading = asyncio.ensure_future(read())
                expected = Reconnecting if url_of_nobody else Connected
                await eventually("it waits", lambda: any(isinstance(item, expected) for item in items))  # noqa: B023
                await listener.close()
                await soon("the end", reading)
                assert items[-1] == Closed(1000, "closed by the application")
                assert len([item for item in items if isinstance(item, Closed)]) == 1

    run(scenario())
