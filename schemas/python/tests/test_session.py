"""What the listener remembers, without a socket: the same claims as those of the Rust client."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eventwire._awake import Awake
from eventwire._event_stream import Block, Reader, TooLong
from eventwire.backoff import CLOSE_CODES, AfterClose, Backoff, Ended, Reconnect, Retry, Stop, after_status
from eventwire.models import ConnectionErrorEvent
from eventwire.session import (
    Checkpoint,
    Connected,
    Farewell,
    Gap,
    HangUp,
    Output,
    Reopen,
    Send,
    Session,
    SseRequest,
    TargetRefused,
    TokenTaken,
    Unreadable,
    WillClose,
)
from eventwire.transport import Choice, Fallback, Transport

EPOCH, OTHER = "00000000000000aa", "00000000000000bb"
TIME = "2026-11-20T23:40:01Z"


class Probe:
    """A session with what it said so far."""

    def __init__(self, *targets: str, resume: Checkpoint | None = None) -> None:
        self.session = Session(targets, resume or Checkpoint())
        self.outputs: list[Output] = []
        self.now = 0.0

    def flush(self) -> None:
        """One turn of the event loop."""
        self.outputs += self.session.flush(self.now)

    def tell(self, kind: str, **data: Any) -> None:
        frame = {"type": f"connection.{kind}", "time": TIME, "to": "connection:c0000000000000001", "data": data}
        self.outputs += self.session.receive(json.dumps(frame))

    def welcome(self, epoch: str = EPOCH, **more: Any) -> None:
        limits = {"max_frame_bytes": 65536, "max_subscriptions": 256, "commands_per_second": 32, "command_burst": 64}
        self.tell(
            "welcome",
            connection_id="c0000000000000001",
            protocol="v1",
            epoch=epoch,
            server="test",
            server_time=TIME,
            permissions=[],
            heartbeat_interval_ms=30000,
            limits=limits,
            **more,
        )

    def frame(self, to: str, seq: int, prev: int) -> None:
        frame = {"type": "_test.event", "time": TIME, "to": to, "seq": seq, "prev": prev, "data": {"n": seq}}
        self.outputs += self.session.receive(json.dumps(frame))

    def sent(self) -> list[dict[str, Any]]:
        return [json.loads(output.text) for output in self.outputs if isinstance(output, Send)]

    def accept(self, head: int) -> None:
        """Answers the last `subscribe` as a server whose log stands at `head` would."""
        command = self.sent()[-1]
        streams = [{"to": stream["to"], "head": head} for stream in command["data"]["streams"]]
        self.tell("subscribed", re=command["id"], epoch=EPOCH, streams=streams, refused=[])

    def heartbeat(self, to: str, seq: int) -> None:
        positions = [{"to": to, "seq": seq}]
        self.tell("heartbeat", server_time=TIME, active_connections=1, server_status="healthy", positions=positions)

    def reconnect(self, epoch: str = EPOCH) -> dict[str, Any]:
        self.session.disconnected()
        self.welcome(epoch)
        return self.sent()[-1]

    def seen(self) -> list[object]:
        """What the application saw: the numbers of events, and the rest as it is."""
        seen: list[object] = []
        for output in self.outputs:
            if isinstance(output, (Gap, TargetRefused)):
                seen.append(output)
            elif isinstance(output, Unreadable):
                seen.append("unreadable")
            elif getattr(output, "seq", None) is not None:
                seen.append(output.seq)  # type: ignore[union-attr]
        self.outputs.clear()
        return seen


def since(command: dict[str, Any], to: str) -> int | None:
    (found,) = [stream for stream in command["data"]["streams"] if stream["to"] == to]
    position: int | None = found.get("since")
    return position


def accepted(*targets: str, head: int = 0) -> Probe:
    probe = Probe(*targets)
    probe.welcome()
    probe.accept(head)
    return probe


A = "adw:aaaaaaaa"


def test_a_target_resumes_from_where_it_stood_before_the_first_event() -> None:
    probe = Probe(A)
    probe.welcome()
    assert since(probe.sent()[0], A) is None, "from now on"
    probe.accept(41)
    command = probe.reconnect()
    assert (since(command, A), command["data"]["epoch"]) == (41, EPOCH)


def test_one_command_resumes_everything_and_what_everybody_gets_too() -> None:
    probe = accepted(A, "room:tasks")
    for to, seq in [(A, 1), (f"{A}/raw", 2), ("global", 3), ("room:tasks", 4)]:
        probe.frame(to, seq, 0)
    probe.outputs.clear()
    command = probe.reconnect()
    assert len(probe.sent()) == 1
    assert [since(command, to) for to in (A, "room:tasks", "global")] == [2, 4, 3]


def test_who_is_known_resumes_what_comes_for_them_by_name() -> None:
    probe = Probe()
    probe.welcome(user_id="ada", session_id="planning")
    assert {stream["to"] for stream in probe.sent()[0]["data"]["streams"]} == {"global", "user:ada", "session:planning"}


def test_what_comes_twice_is_dropped_by_the_position_of_its_target() -> None:
    probe = accepted(A)
    for to, seq, prev in [(A, 1, 0), (f"{A}/raw", 2, 0), (A, 1, 0), (f"{A}/raw", 2, 0), (A, 3, 1)]:
        probe.frame(to, seq, prev)
    assert probe.seen() == [1, 2, 3]


def test_a_prev_that_was_never_seen_is_a_hole_and_the_event_still_counts() -> None:
    probe = accepted(A)
    probe.frame(A, 1, 0)
    # The raw layer is a stream of its own and hides no hole of the other one.
    probe.frame(f"{A}/raw", 7, 0)
    probe.frame(A, 9, 5)
    assert probe.seen() == [1, 7, Gap(A, "hole", 2, 5), 9]


def test_a_gap_of_one_stream_drops_nothing_of_another() -> None:
    probe = accepted(A)
    probe.frame(A, 1, 0)
    probe.frame(f"{A}/raw", 2, 0)
    probe.reconnect()
    probe.accept(2)
    probe.outputs.clear()
    probe.tell("gap", stream=f"{A}/raw", reason="expired", from_seq=3, to_seq=60)
    probe.frame(A, 5, 1)
    probe.frame(f"{A}/raw", 70, 60)
    assert probe.seen() == [Gap(f"{A}/raw", "expired", 3, 60), 5, 70]


def test_another_history_is_said_once_for_each_target_and_read_from_its_beginning() -> None:
    probe = accepted(A, head=500)
    probe.frame(A, 501, 400)
    probe.outputs.clear()
    command = probe.reconnect(OTHER)
    assert (since(command, A), command["data"]["epoch"]) == (0, OTHER)
    probe.accept(0)
    assert probe.seen() == [Gap(A, "epoch_changed"), Gap("global", "epoch_changed")]
    probe.frame(A, 1, 0)
    assert probe.seen() == [1]


def test_a_lost_tail_is_seen_by_a_number_that_grew_and_never_came() -> None:
    probe = accepted(A, head=3)
    # The log reaches further than this target: nothing is lost.
    probe.heartbeat(A, 90)
    probe.frame(A, 95, 3)
    probe.heartbeat(A, 95)
    assert probe.seen() == [95]
    probe.heartbeat(A, 99)
    probe.heartbeat(A, 99)
    assert probe.seen() == [Gap(A, "hole", 96, 99)]


def test_an_observer_has_one_position_for_everything_it_did_not_name() -> None:
    probe = accepted("*", A)
    for to, seq in [("room:x", 1), (A, 2), ("adw:bbbbbbbb", 3), ("global", 4), (A, 5)]:
        probe.frame(to, seq, 0)
    probe.outputs.clear()
    command = probe.reconnect()
    assert [since(command, to) for to in ("*", A, "global")] == [3, 5, 4]


def test_a_refused_target_is_reported_once_and_not_asked_for_again() -> None:
    probe = Probe(A, "room:staff")
    probe.welcome()
    refused = [{"to": to, "code": "forbidden", "message": "no"} for to in ("room:staff", "global")]
    streams = [{"to": A, "head": 0}]
    probe.tell("subscribed", re=probe.sent()[0]["id"], epoch=EPOCH, streams=streams, refused=refused)
    assert probe.seen() == [TargetRefused("room:staff", "forbidden", "no")]
    command = probe.reconnect()
    assert "room:staff" not in [stream["to"] for stream in command["data"]["streams"]]


def test_a_target_that_is_subscribed_without_a_connection_is_asked_for_at_the_next() -> None:
    probe = Probe()
    probe.session.subscribe({A: 7})
    probe.flush()
    assert probe.sent() == []
    probe.welcome()
    assert since(probe.sent()[0], A) == 7


def test_a_target_that_was_asked_for_and_not_answered_is_asked_for_again_with_its_position() -> None:
    probe = accepted()
    probe.outputs.clear()
    probe.session.subscribe({A: 7})
    probe.flush()
    assert since(probe.sent()[0], A) == 7
    assert since(probe.reconnect(), A) == 7


def test_reading_again_is_no_duplicate_when_the_application_asked_for_it() -> None:
    probe = accepted(A)
    probe.frame(A, 1, 0)
    probe.frame(A, 2, 1)
    probe.seen()
    probe.session.subscribe({A: 0})
    probe.flush()
    probe.accept(2)
    for seq, prev in [(1, 0), (2, 1), (2, 1)]:
        probe.frame(A, seq, prev)
    assert probe.seen() == [1, 2]


def test_what_is_no_longer_wanted_is_not_asked_for_again() -> None:
    probe = accepted(A)
    probe.outputs.clear()
    probe.session.unsubscribe([A])
    probe.flush()
    (command,) = probe.sent()
    assert (command["type"], command["data"]["streams"]) == ("unsubscribe", [{"to": A}])
    probe.tell("unsubscribed", re=command["id"], streams=[{"to": A, "reason": "requested"}])
    assert A not in [stream["to"] for stream in probe.reconnect()["data"]["streams"]]


def test_what_cannot_be_read_is_handed_on_and_not_asked_for_again() -> None:
    probe = accepted(A)
    bad = {"type": "adw.text_block", "time": TIME, "to": A, "seq": 4, "prev": 0, "data": {"content": 7}}
    for text in (json.dumps(bad), json.dumps(bad), "not even JSON"):
        probe.outputs += probe.session.receive(text)
    probe.frame(A, 5, 4)
    assert probe.seen() == ["unreadable", "unreadable", 5]
    assert since(probe.reconnect(), A) == 5


def test_a_refused_resume_that_may_work_later_ends_the_connection_instead_of_staying_silent() -> None:
    probe = Probe(A)
    probe.welcome()
    probe.tell("error", re=probe.sent()[0]["id"], code="rate_limited", message="slowly", retryable=True)
    assert HangUp("slowly") in probe.outputs


def test_what_is_live_before_the_resume_is_answered_hides_nothing_that_lies_before_it() -> None:
    probe = accepted()
    probe.frame("global", 1, 0)
    probe.seen()
    probe.reconnect()
    # Everybody gets what is for everyone, from the welcome on.
    probe.frame("global", 5, 3)
    probe.accept(5)
    probe.frame("global", 3, 1)
    probe.frame("global", 5, 3)
    assert probe.seen() == [3, 5]


def test_more_targets_than_one_command_takes_resume_in_as_few_as_possible() -> None:
    probe = Probe(*(f"room:r{n}" for n in range(300)))
    probe.welcome()
    assert [len(command["data"]["streams"]) for command in probe.sent()] == [256, 45]


def test_a_checkpoint_goes_on_in_another_process() -> None:
    probe = accepted(A, head=3)
    probe.frame(A, 9, 3)
    kept = Checkpoint.from_json(probe.session.checkpoint().to_json())
    assert kept == Checkpoint(EPOCH, {A: 9, "global": 3})
    following = Probe(resume=kept)
    following.welcome()
    assert since(following.sent()[0], A) == 9
    for text in ("[]", "{}", "5"):
        with pytest.raises(ValueError, match="checkpoint"):
            Checkpoint.from_json(text)


def test_a_token_is_taken_when_the_server_took_it_and_not_before() -> None:
    probe = accepted()
    probe.outputs = [*probe.session.authenticate("good"), *probe.session.authenticate("bad")]
    probe.flush()
    good, bad = (command["id"] for command in probe.sent())
    probe.tell("error", re=bad, code="unauthorized", message="no", retryable=False)
    probe.tell("reply", re=good, data={})
    assert [output for output in probe.outputs if isinstance(output, TokenTaken)] == [TokenTaken("good")]


def test_the_announced_end_says_when_to_return() -> None:
    probe = accepted()
    probe.tell("closing", reason="restart", code=1012, reconnect_after_ms=1234)
    probe.tell("closing", reason="kicked", code=1008)
    assert [output for output in probe.outputs if isinstance(output, Farewell)] == [Farewell(1.234), Farewell(None)]
    assert any(isinstance(output, Connected) for output in probe.outputs)


# Reconnecting ---------------------------------------------------------------------------------------------------------

LOST = Ended(AfterClose.RECONNECT, 1006, "reset")


def closed(code: int) -> Ended:
    return Ended(CLOSE_CODES.get(code, AfterClose.RECONNECT), code, "")


def test_what_cannot_get_better_by_itself_is_not_tried_again() -> None:
    again = {code for code in range(1000, 5000) if _next(closed(code))}
    assert again == set(range(1000, 5000)) - {1000, 1002, 1007, 1008, 4000, 4001, 4003, 4009}
    statuses = (400, 401, 403, 404, 408, 426, 429, 500, 503)
    tried = {status for status in statuses if _next(Ended(after_status(status), status, ""))}
    assert tried == {408, 429, 500, 503}


def _next(ended: Ended) -> bool:
    return isinstance(Reconnect(Backoff(), can_refresh=False).after(ended, 0.0, 0.5), Retry)


def test_the_close_codes_are_those_of_the_protocol() -> None:
    text = (_protocol() / "src" / "close.rs").read_text()
    rows = [
        line.split() for line in text.splitlines() if line.rstrip().endswith(";") and " = " in line and ", " in line
    ]
    said = {
        int(row[2].rstrip(",")): {"Reconnect": "reconnect", "RefreshToken": "refresh_token", "Stop": "stop"}[
            row[3][:-1]
        ]
        for row in rows
        if len(row) == 4 and row[1] == "=" and row[2].rstrip(",").isdigit()
    }
    assert said == {code: after.value for code, after in CLOSE_CODES.items()}
    assert len(said) > 10


def _protocol() -> Any:
    from pathlib import Path

    return Path(__file__).resolve().parents[3] / "protocol"


def test_the_server_chooses_when_its_clients_return() -> None:
    reconnect = Reconnect(Backoff(), can_refresh=False)
    reconnect.announced(1.234)
    assert reconnect.after(closed(1012), 0.0, 1.0) == Retry(1, 1.234, False)
    assert reconnect.after(closed(1012), 0.0, 1.0) == Retry(2, 1.0, False), "said of one connection only"
    reconnect.announced(None)
    assert reconnect.after(closed(1012), 0.0, 1.0) == Stop(1012, "")


def test_attempts_end_at_their_maximum_and_begin_again_after_a_good_connection() -> None:
    reconnect = Reconnect(Backoff(attempts=2), can_refresh=False)

    def attempt(at: float, good_since: float | None = None) -> int | None:
        if good_since is not None:
            reconnect.connected(good_since)
        decided = reconnect.after(LOST, at, 0.0)
        return decided.attempt if isinstance(decided, Retry) else None

    # Welcomed and thrown out at once is no success; a connection that outlived the wait before it is.
    assert [attempt(0), attempt(1, 0.9), attempt(20, 2), attempt(21), attempt(22)] == [1, 2, 1, 2, None]


def test_connections_that_work_are_never_counted_as_failures() -> None:
    # A proxy that ends every stream after 8 s.
    reconnect = Reconnect(Backoff(attempts=2), can_refresh=False)
    now = 0.0
    for _ in range(50):
        reconnect.connected(now)
        now += 8.0
        decided = reconnect.after(LOST, now, 1.0)
        assert isinstance(decided, Retry)
        assert (decided.attempt <= 2, decided.after_seconds <= 1.0) == (True, True)
        now += decided.after_seconds
    # One that ends every stream after its first event.
    for _ in range(50):
        reconnect.connected(now)
        reconnect.delivered()
        now += 0.01
        assert reconnect.after(LOST, now, 1.0) == Retry(1, 0.5, False)
    # What is thrown out at once is away for longer and longer.
    waits = []
    reconnect = Reconnect(Backoff(), can_refresh=False)
    for _ in range(8):
        reconnect.connected(now)
        decided = reconnect.after(closed(4002), now + 0.01, 1.0)
        assert isinstance(decided, Retry)
        waits.append(decided.after_seconds)
        now += 0.01 + decided.after_seconds
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_wait_is_anything_up_to_a_bound_that_doubles() -> None:
    backoff = Backoff(base_seconds=0.5, max_seconds=30)
    assert [backoff.wait(failed, 1.0) for failed in (1, 2, 3, 7, 1000)] == [0.5, 1.0, 2.0, 30, 30]
    assert backoff.wait(5, 0.0) == 0.0
    assert backoff.wait(5, 0.25) == 2.0


def test_a_token_that_was_just_fetched_and_is_refused_will_not_get_better() -> None:
    expired = closed(4001)
    reconnect = Reconnect(Backoff(), can_refresh=True)
    assert reconnect.after(expired, 0.0, 1.0) == Retry(1, 0.0, True)
    assert reconnect.after(Ended(after_status(401), 401, "no"), 0.0, 1.0) == Stop(401, "no")
    reconnect = Reconnect(Backoff(), can_refresh=True)
    for at in (0.0, 100.0):
        reconnect.connected(at)
        assert reconnect.after(expired, at + 50, 1.0) == Retry(1, 0.0, True)
    assert reconnect.after(LOST, 200.0, 1.0) == Retry(2, 1.0, False), "the new token is kept over a lost connection"
    assert Reconnect(Backoff(), can_refresh=False).after(expired, 0.0, 1.0) == Stop(4001, "")


def test_a_gap_of_a_target_excuses_the_holes_of_its_streams_and_of_no_other() -> None:
    probe = accepted("*", "room:a")
    for seq, to in enumerate([A, f"{A}/raw", "room:a", "room:a/raw", "global"], 1):
        probe.frame(to, seq, 0)
    probe.tell("gap", stream="*", reason="slow_consumer", from_seq=1, to_seq=10)
    probe.outputs.clear()
    probe.frame(A, 11, 10)
    probe.frame(f"{A}/raw", 12, 9)
    probe.frame("global", 13, 8)
    assert probe.seen() == [11, 12, Gap("global", "hole", 6, 8), 13]
    probe.tell("gap", stream="room:a", reason="slow_consumer", from_seq=1, to_seq=20)
    probe.outputs.clear()
    probe.frame("room:a/raw", 21, 20)
    probe.frame(A, 22, 18)
    probe.frame("room:a", 25, 23)
    assert probe.seen() == [21, Gap(A, "hole", 12, 18), 22, Gap("room:a", "hole", 21, 23), 25]


def test_the_answer_to_an_unsubscribe_forgets_nothing_that_was_wanted_again_before_it_came() -> None:
    probe = accepted("room:a", head=3)
    probe.outputs.clear()
    probe.session.unsubscribe(["room:a"])
    probe.flush()
    probe.session.subscribe({"room:a": None})
    probe.flush()
    first = probe.sent()[0]["id"]
    probe.frame("room:a", 4, 3)
    probe.tell("unsubscribed", re=first, streams=[{"to": "room:a"}])
    probe.accept(6)
    probe.frame("room:a", 7, 6)
    assert probe.seen() == [4, 7]
    assert since(probe.reconnect(), "room:a") == 7
    probe.outputs.clear()
    probe.session.unsubscribe(["room:a"])
    probe.flush()
    probe.session.subscribe({"room:a": None})
    probe.flush()
    probe.tell("unsubscribed", re=probe.sent()[0]["id"], streams=[{"to": "room:a"}])
    # The connection ends before the second answer.
    assert since(probe.reconnect(), "room:a") is None
    # One that nobody asked for is a permission that was lost.
    probe.tell("unsubscribed", streams=[{"to": "room:a"}])
    assert "room:a" not in probe.session.checkpoint().positions


def test_what_was_unsubscribed_before_its_subscribe_was_answered_is_not_wanted() -> None:
    probe = accepted()
    probe.outputs.clear()
    probe.session.subscribe({"room:a": None})
    probe.flush()
    probe.session.unsubscribe(["room:a"])
    probe.flush()
    first, second = [command["id"] for command in probe.sent()]
    probe.tell("subscribed", re=first, epoch=EPOCH, streams=[{"to": "room:a", "head": 4}], refused=[])
    probe.tell("unsubscribed", re=second, streams=[{"to": "room:a"}])
    assert "room:a" not in probe.session.checkpoint().positions


# One command for what changes at once, and no faster than the server allows -------------------------------------------


def streams(probe: Probe, kind: str = "subscribe") -> list[list[str]]:
    commands = [command for command in probe.sent() if command["type"] == kind]
    return [[stream["to"] for stream in command["data"]["streams"]] for command in commands]


def limited(burst: int = 4, rate: int = 2, **limits: int) -> Probe:
    """A connection with small limits, whose resume took one command of them."""
    probe = Probe()
    given = {"max_frame_bytes": 65536, "max_subscriptions": 256, "commands_per_second": rate, "command_burst": burst}
    probe.tell(
        "welcome",
        connection_id="c0000000000000001",
        protocol="v1",
        epoch=EPOCH,
        server="test",
        server_time=TIME,
        permissions=[],
        heartbeat_interval_ms=30000,
        limits=given | limits,
    )
    probe.accept(0)
    probe.outputs.clear()
    return probe


def test_what_changes_in_one_turn_is_one_command() -> None:
    probe = accepted()
    probe.outputs.clear()
    rooms = [f"room:r{number}" for number in range(100)]
    for room in rooms:
        probe.session.subscribe({room: None})
    probe.flush()
    assert streams(probe) == [rooms]
    probe.outputs.clear()
    for room in rooms:
        probe.session.unsubscribe([room])
    probe.flush()
    assert (streams(probe, "unsubscribe"), streams(probe)) == ([rooms], [])


def test_what_comes_and_goes_in_one_turn_is_no_command_and_loses_nothing() -> None:
    probe = accepted("room:a", head=3)
    probe.outputs.clear()
    for _ in range(50):
        probe.session.subscribe({"room:b": None})
        probe.session.unsubscribe(["room:b", "room:a"])
        probe.session.subscribe({"room:a": None})
    probe.flush()
    assert probe.sent() == []
    assert since(probe.reconnect(), "room:a") == 3
    probe.accept(3)
    probe.session.unsubscribe(["room:a"])
    probe.frame("room:a", 5, 3)
    probe.session.subscribe({"room:a": None})
    assert since(probe.reconnect(), "room:a") == 5
    assert "room:b" not in probe.session.checkpoint().positions


def test_commands_keep_to_the_limits_of_the_welcome_and_what_waits_goes_together() -> None:
    probe = limited(burst=4, rate=2)
    for number in range(100):
        probe.session.subscribe({f"room:r{number}": None})
        probe.flush()
    # Three of four are left after the resume.
    assert streams(probe) == [["room:r0"], ["room:r1"], ["room:r2"]]
    probe.outputs.clear()
    wait = probe.session.wait(probe.now)
    assert wait is not None
    assert 0.5 <= wait < 0.6
    probe.now += wait / 2
    probe.flush()
    assert streams(probe) == []
    probe.now += wait
    probe.flush()
    assert streams(probe) == [[f"room:r{number}" for number in range(3, 100)]]
    assert probe.session.wait(probe.now) is None


def test_new_targets_are_counted_where_the_server_counts_them() -> None:
    probe = limited(burst=64, rate=32, targets_per_second=10, target_burst=20)
    probe.session.subscribe({f"room:r{number}": None for number in range(30)})
    sent: list[str] = []
    for _ in range(200):
        probe.flush()
        sent += [room for some in streams(probe) for room in some]
        probe.outputs.clear()
        if len(sent) == 30:
            break
        # One for what everyone gets, and 19 more.
        assert len(sent) <= 19 + 10 * probe.now
        probe.now += probe.session.wait(probe.now) or 0.0
    assert sent == [f"room:r{number}" for number in range(30)]


def test_a_command_that_was_refused_for_now_is_sent_again_when_the_server_said() -> None:
    probe = accepted("room:c")
    probe.outputs.clear()
    probe.session.subscribe({"room:a": 7})
    probe.session.unsubscribe(["room:c"])
    probe.session.authenticate("next")
    probe.flush()
    for command in probe.sent():
        error = {"code": "rate_limited", "message": "slowly", "retryable": True, "retry_after_ms": 250}
        probe.tell("error", re=command["id"], **error)
    assert [it for it in probe.outputs if not isinstance(it, Send)] == [], "the application has nothing to do about it"
    probe.outputs.clear()
    probe.flush()
    assert probe.sent() == []
    assert probe.session.wait(probe.now) == 0.25
    probe.now += 0.25
    probe.flush()
    assert [command["type"] for command in probe.sent()] == ["authenticate", "unsubscribe", "subscribe"]
    assert since(probe.sent()[-1], "room:a") == 7


def test_a_change_that_waits_for_the_limits_is_asked_for_on_the_next_connection() -> None:
    probe = limited(burst=1)
    probe.session.subscribe({"room:a": 7})
    probe.session.unsubscribe(["global"])
    probe.flush()
    assert probe.sent() == []
    assert since(probe.reconnect(), "room:a") == 7


# The same over an event stream ----------------------------------------------------------------------------------------


def over_sse(probe: Probe, first: str = f"{EPOCH}-0", epoch: str = EPOCH) -> SseRequest:
    """Opens an event stream that says where it begins, or goes on where it was asked to."""
    probe.session.disconnected()
    request = probe.session.over_sse()
    probe.session.passed(request.last_event_id or first)
    probe.welcome(epoch)
    return request


def subscribed(probe: Probe, *targets: str) -> None:
    probe.tell("subscribed", epoch=EPOCH, streams=[{"to": to, "head": 9} for to in targets], refused=[])


def over_socket(probe: Probe) -> dict[str, Any]:
    probe.session.disconnected()
    probe.session.over_websocket()
    probe.welcome()
    return probe.sent()[-1]


def test_what_is_read_over_a_socket_goes_on_over_an_event_stream_and_back() -> None:
    probe = accepted(A, "session:ctx", "room:b", "room:a", head=3)
    probe.frame(A, 7, 3)
    request = over_sse(probe)
    assert request.query == "to=adw:aaaaaaaa,room:a,room:b,session:ctx"
    assert request.last_event_id == f"{EPOCH}-7,global=3,room:a=3,room:b=3,session:ctx=3"
    subscribed(probe, A, "session:ctx", "room:a", "room:b")
    probe.frame("room:a", 9, 3)
    probe.session.passed(f"{EPOCH}-9,room:b=3")
    command = over_socket(probe)
    assert [since(command, to) for to in (A, "room:a", "room:b", "global")] == [9, 9, 3, 9]


def test_an_event_stream_is_opened_again_for_other_targets() -> None:
    probe = Probe("room:a")
    assert over_sse(probe, f"{EPOCH}-5").last_event_id is None
    subscribed(probe, "room:a")
    probe.outputs.clear()
    probe.session.subscribe({"room:b": 2})
    probe.flush()
    assert probe.outputs == [Reopen()]
    request = over_sse(probe)
    assert (request.query, request.last_event_id) == ("to=room:a,room:b", f"{EPOCH}-5,room:b=2")
    probe.outputs.clear()
    # What is for everyone comes anyway.
    probe.session.unsubscribe(["global"])
    probe.flush()
    assert probe.outputs == []
    probe.session.unsubscribe(["room:a"])
    probe.flush()
    assert probe.outputs == [Reopen()]
    assert over_sse(probe).query == "to=room:b"
    assert probe.session.authenticate("next") == [TokenTaken("next")]
    probe.outputs.clear()
    probe.flush()
    assert probe.outputs == [Reopen()]


def test_positions_without_the_name_of_their_history_wait_for_a_welcome() -> None:
    probe = Probe(resume=Checkpoint(None, {"room:a": 4}))
    assert over_sse(probe, f"{EPOCH}-90").last_event_id is None
    assert probe.outputs == [Reopen()]
    assert over_sse(probe).last_event_id == f"{EPOCH}-4"
    assert isinstance(probe.outputs[-1], Connected)


def test_a_target_that_an_event_stream_does_not_carry_stays_where_it_was() -> None:
    probe = accepted("room:a", "user:ada", head=3)
    assert over_sse(probe).query == "to=room:a"
    subscribed(probe, "room:a")
    probe.session.passed(f"{EPOCH}-50")
    command = over_socket(probe)
    assert [since(command, to) for to in ("user:ada", "room:a")] == [3, 50]


def test_another_history_of_an_event_stream_is_reported_once() -> None:
    probe = accepted("room:a", head=3)
    probe.outputs.clear()
    over_sse(probe, epoch=OTHER)
    for to in ("room:a", "global"):
        probe.tell("gap", stream=to, reason="epoch_changed")
    assert probe.seen() == [Gap("room:a", "epoch_changed"), Gap("global", "epoch_changed")]
    probe.frame("room:a", 1, 0)
    assert probe.seen() == [1]


def test_a_refused_target_of_an_event_stream_is_reported_by_name() -> None:
    probe = Probe(A, "room:staff")
    over_sse(probe)
    probe.outputs.clear()
    error = {"code": "forbidden", "message": "no", "retryable": False}
    probe.tell("error", **error, details={"to": "room:staff"})
    assert probe.outputs == [TargetRefused("room:staff", "forbidden", "no")]
    assert over_sse(probe).query == "to=adw:aaaaaaaa"
    # Over a socket an error is about a command.
    over_socket(probe)
    probe.outputs.clear()
    probe.tell("error", **error, details={"to": A})
    assert isinstance(probe.outputs[0], ConnectionErrorEvent)


def test_the_end_of_an_event_stream_has_the_code_that_was_said_before() -> None:
    probe = Probe()
    over_sse(probe)
    probe.outputs.clear()
    probe.tell("closing", reason="the token has ended", code=4001)
    assert WillClose(4001, "the token has ended") in probe.outputs


def test_the_blocks_of_an_event_stream_are_read_however_their_bytes_come() -> None:
    text = (
        '\ufeffretry: 5\n\n: keep\nid: a-1\r\ndata: {"\u00e9":\r\ndata:1}\r\r\n\n'
        "data: x\n\nid: b\n\nevent: y\n\nretry: -1\ndata\n\nda"
    )
    expected = [
        Block(None, None, 5),
        Block("a-1", '{"\u00e9":\n1}', None),
        Block(None, "x", None),
        Block("b", None, None),
        Block(None, "", None),
    ]
    whole = text.encode()
    assert Reader(100).push(whole) == expected
    for size in range(1, 12):
        reader = Reader(100)
        pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
        assert [block for piece in pieces for block in reader.push(piece)] == expected
    for hostile in (b"x" * 101, b"data: " + b"x" * 60 + b"\ndata: " + b"x" * 60 + b"\n"):
        with pytest.raises(TooLong):
            Reader(100).push(hostile)


# Transports -----------------------------------------------------------------------------------------------------------

BOTH = (Transport.WEBSOCKET, Transport.SSE)


def refused(status: int) -> Ended:
    return Ended(after_status(status), status, "", "refused")


def test_a_proxy_without_upgrades_is_left_at_once_and_everything_refused_is_an_end() -> None:
    for status in (200, 301, 400, 404, 405, 426, 501):
        choice = Choice(BOTH, Fallback())
        assert choice.failed(refused(status), 0, reached=True), status
        assert choice.next(0) is Transport.SSE
        assert not choice.failed(refused(404), 0, reached=True), "nothing is left"
    for status in (401, 403, 408, 429, 500, 503):
        choice = Choice(BOTH, Fallback())
        assert not choice.failed(refused(status), 0, reached=True)
        assert choice.next(0) is Transport.WEBSOCKET, status
    assert not Choice([Transport.WEBSOCKET], Fallback()).failed(refused(404), 0, reached=True)
    assert Choice([], Fallback()).next(0) is Transport.WEBSOCKET


def test_what_breaks_again_and_again_is_left_and_a_server_that_is_gone_is_waited_for() -> None:
    choice = Choice(BOTH, Fallback())
    for _ in range(10):
        choice.failed(LOST, 0, reached=False)
    assert choice.next(0) is Transport.WEBSOCKET
    choice.failed(LOST, 0, reached=True)
    choice.welcomed()
    choice.failed(LOST, 0, reached=True)
    assert choice.next(0) is Transport.WEBSOCKET, "not in a row"
    assert not choice.failed(LOST, 0, reached=True)
    assert choice.next(0) is Transport.SSE
    # It breaks as well: round and round.
    choice.failed(LOST, 1, reached=True)
    choice.failed(LOST, 1, reached=True)
    assert choice.next(1) is Transport.WEBSOCKET


def test_the_better_transport_is_tried_again_after_waits_that_double() -> None:
    choice = Choice(BOTH, Fallback())
    choice.failed(refused(426), 100, reached=True)
    choice.welcomed()
    assert (choice.return_at(), choice.next(159)) == (160, Transport.SSE)
    choice.returned(False, 160)
    assert choice.return_at() == 280
    # Tried instead of the connection, in vain: back at once.
    assert choice.next(280) is Transport.WEBSOCKET
    assert choice.failed(refused(426), 281, reached=True)
    assert (choice.next(281), choice.return_at()) == (Transport.SSE, 281 + 240)
    for _ in range(9):
        choice.returned(False, 1000)
    assert choice.return_at() == 1600, "bounded"
    choice.returned(True, 1600)
    assert (choice.next(1600), choice.return_at()) == (Transport.WEBSOCKET, None)
    choice.welcomed()
    choice.failed(refused(426), 2000, reached=True)
    assert choice.return_at() == 2060


def test_a_sleep_of_the_machine_is_seen_by_either_clock_and_a_set_clock_measures_nothing() -> None:
    awake = Awake()
    assert not awake.slept(0, 1000)
    assert not awake.slept(5, 1005)
    assert awake.slept(10, 4610), "a clock that pauses in sleep"
    assert not awake.slept(15, 4615)
    assert awake.slept(3615, 8215), "a clock that goes on"
    assert not awake.slept(3620, 4620), "set back by an hour"
    assert not awake.slept(3625, 4625)
    awake.forget()
    assert not awake.slept(90000, 4626)
