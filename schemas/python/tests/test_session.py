"""What the listener remembers, without a socket: the same claims as those of the Rust client."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eventwire.backoff import CLOSE_CODES, AfterClose, Backoff, Ended, Reconnect, Retry, Stop, after_status
from eventwire.session import (
    Checkpoint,
    Connected,
    Farewell,
    Gap,
    HangUp,
    Output,
    Send,
    Session,
    TargetRefused,
    TokenTaken,
    Unreadable,
)

EPOCH, OTHER = "00000000000000aa", "00000000000000bb"
TIME = "2026-11-20T23:40:01Z"


class Probe:
    """A session with what it said so far."""

    def __init__(self, *targets: str, resume: Checkpoint | None = None) -> None:
        self.session = Session(targets, resume or Checkpoint())
        self.outputs: list[Output] = []

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
    assert probe.session.subscribe({A: 7}) == []
    probe.welcome()
    assert since(probe.sent()[0], A) == 7


def test_a_target_that_was_asked_for_and_not_answered_is_asked_for_again_with_its_position() -> None:
    probe = accepted()
    probe.outputs = [*probe.session.subscribe({A: 7})]
    assert since(probe.sent()[0], A) == 7
    assert since(probe.reconnect(), A) == 7


def test_reading_again_is_no_duplicate_when_the_application_asked_for_it() -> None:
    probe = accepted(A)
    probe.frame(A, 1, 0)
    probe.frame(A, 2, 1)
    probe.seen()
    probe.outputs += probe.session.subscribe({A: 0})
    probe.accept(2)
    for seq, prev in [(1, 0), (2, 1), (2, 1)]:
        probe.frame(A, seq, prev)
    assert probe.seen() == [1, 2]


def test_what_is_no_longer_wanted_is_not_asked_for_again() -> None:
    probe = accepted(A)
    probe.outputs = [*probe.session.unsubscribe([A])]
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
    good, bad = (command["id"] for command in probe.sent())
    probe.tell("error", re=bad, code="unauthorised", message="no", retryable=False)
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

    # Welcomed and thrown out again is no success.
    assert [attempt(0), attempt(1, 0), attempt(20, 2), attempt(21), attempt(22)] == [1, 2, 1, 2, None]


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
    probe.outputs += probe.session.unsubscribe(["room:a"])
    probe.outputs += probe.session.subscribe({"room:a": None})
    first = probe.sent()[0]["id"]
    probe.frame("room:a", 4, 3)
    probe.tell("unsubscribed", re=first, streams=[{"to": "room:a"}])
    probe.accept(6)
    probe.frame("room:a", 7, 6)
    assert probe.seen() == [4, 7]
    assert since(probe.reconnect(), "room:a") == 7
    probe.outputs.clear()
    probe.outputs += probe.session.unsubscribe(["room:a"])
    probe.outputs += probe.session.subscribe({"room:a": None})
    probe.tell("unsubscribed", re=probe.sent()[0]["id"], streams=[{"to": "room:a"}])
    # The connection ends before the second answer.
    assert since(probe.reconnect(), "room:a") is None
    # One that nobody asked for is a permission that was lost.
    probe.tell("unsubscribed", streams=[{"to": "room:a"}])
    assert "room:a" not in probe.session.checkpoint().positions


def test_what_was_unsubscribed_before_its_subscribe_was_answered_is_not_wanted() -> None:
    probe = accepted()
    probe.outputs.clear()
    probe.outputs += probe.session.subscribe({"room:a": None})
    probe.outputs += probe.session.unsubscribe(["room:a"])
    first, second = [command["id"] for command in probe.sent()]
    probe.tell("subscribed", re=first, epoch=EPOCH, streams=[{"to": "room:a", "head": 4}], refused=[])
    probe.tell("unsubscribed", re=second, streams=[{"to": "room:a"}])
    assert "room:a" not in probe.session.checkpoint().positions
