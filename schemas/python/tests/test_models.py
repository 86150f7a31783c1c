"""The generated classes read what the schemas describe, and nothing else."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import TypeAdapter, ValidationError
from support import INDEX, published, python

import eventwire
import eventwire.models as models
from eventwire import (
    EVENT_TYPES,
    UnknownEvent,
    VendorPublication,
    parse_event,
    parse_incoming,
    parse_publication,
)

HERE = Path(__file__).resolve().parent
EVENTS: dict[str, dict[str, Any]] = {event["type"]: event for event in INDEX["events"]}
EXAMPLES = [(kind, path) for kind, event in EVENTS.items() for path in event["examples"]]

formats = FormatChecker(formats=())


def is_time(value: object) -> bool:
    """Written without a line of the package: ISO 8601 as Python reads it, in UTC, with Z."""
    return not isinstance(value, str) or (
        value.endswith("Z") and "T" in value and bool(datetime.strptime(value[:19], "%Y-%m-%dT%H:%M:%S"))
    )


formats.checkers["date-time"] = (is_time, ValueError)


def validator(path: str) -> Draft202012Validator:
    return Draft202012Validator(published(path), format_checker=formats)


def test_the_models_are_what_the_committed_schemas_give() -> None:
    done = python(str(HERE.parent / "generate.py"), "--check")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("kind", "path"), EXAMPLES)
def test_every_example_is_read_as_its_class_and_written_as_it_was(kind: str, path: str) -> None:
    example = published(path)
    name = getattr(models, EVENTS[kind]["title"])
    for parse in (parse_event, parse_incoming):
        for given in (example, json.dumps(example), json.dumps(example).encode()):
            event = parse(given)
            assert type(event) is name
            assert event.to_wire() == example
            assert json.loads(event.model_dump_json(by_alias=True, exclude_unset=True)) == example


def test_the_class_of_every_event_is_known_by_its_type() -> None:
    assert set(EVENTS) == EVENT_TYPES


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to everything inside of a value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        yield (*path, key)
        yield from places(part, (*path, key))


def mutations(example: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything of an example taken away, or put in another type, above its bounds, and beside its pattern."""
    others: list[Any] = ["", "x", "29fb6a3e ", -1, 0, 5, 2.5, 2**53, True, [], ["x"], [5], {}, {"x": 1}]
    for path in places(example):
        *way, last = path
        spoilt = copy.deepcopy(example)
        holder = spoilt
        for key in way:
            holder = holder[key]
        del holder[last]
        yield f"without {path}", spoilt
        for other in others:
            spoilt = copy.deepcopy(example)
            holder = spoilt
            for key in way:
                holder = holder[key]
            holder[last] = other
            yield f"{path} = {other!r}", spoilt
    yield "a member more", {**example, "later": {"x": None}}
    yield "a member of the payload more", {**example, "data": {**example["data"], "later_member": [1]}}


@pytest.mark.parametrize("kind", EVENTS)
def test_a_mutated_example_is_refused_exactly_when_its_schema_refuses_it(kind: str) -> None:
    schema = validator(EVENTS[kind]["schema"])
    own: TypeAdapter[Any] = TypeAdapter(getattr(models, EVENTS[kind]["title"]))
    seen = {True: 0, False: 0}
    for how, spoilt in mutations(published(EVENTS[kind]["examples"][0])):
        expected = schema.is_valid(spoilt)
        seen[expected] += 1
        try:
            event = own.validate_python(spoilt)
        except ValidationError:
            assert not expected, f"{kind}, {how}: the schema takes it, the class does not"
            with pytest.raises(ValueError):
                parse_event(spoilt)
            continue
        assert expected, f"{kind}, {how}: the class takes it, the schema does not"
        assert event.to_wire() == spoilt, how
    assert seen[False] > 20, seen
    assert seen[True] >= 2, seen


def test_no_string_is_taken_for_a_number_and_no_number_for_a_truth() -> None:
    example = published(EVENTS["adw.text_block"]["examples"][0])
    for member, wrong in [("seq", "4711"), ("seq", 4711.5), ("seq", True), ("to", 5), ("time", 0), ("time", "now")]:
        with pytest.raises(ValidationError):
            parse_event({**example, member: wrong})


def test_a_type_that_is_not_known_is_kept_whole_and_is_an_error_only_where_all_are_known() -> None:
    later = {
        "type": "later.thing",
        "time": "2026-11-20T23:40:01.5Z",
        "to": "adw:29fb6a3e",
        "seq": 7,
        "prev": 0,
        "data": {"a": [None, 1]},
        "more": None,
    }
    event = parse_incoming(json.dumps(later))
    assert isinstance(event, UnknownEvent)
    assert (event.type, event.data, event.to_wire()) == ("later.thing", {"a": [None, 1]}, later)
    with pytest.raises(ValueError, match=r"later\.thing.*parse_incoming"):
        parse_event(later)


def test_a_known_type_with_a_wrong_body_does_not_pass_for_an_unknown_one() -> None:
    example = published(EVENTS["adw.text_block"]["examples"][0])
    for wrong in (
        {**example, "data": {}},
        {**example, "to": "global"},
        {k: v for k, v in example.items() if k != "to"},
    ):
        with pytest.raises(ValidationError):
            parse_incoming(wrong)
    for nothing in ("", "[]", "5", '{"type": 5}', "{}", "nonsense"):
        with pytest.raises(ValueError):
            parse_incoming(nothing)


def definitions(root: str, ending: str) -> list[tuple[str, dict[str, Any]]]:
    schemas = published(INDEX["roots"][root])["$defs"].items()
    return [(name, schema) for name, schema in schemas if name.endswith(ending) and "examples" in schema]


def test_publications_say_their_type_by_their_class_and_take_no_unknown_member() -> None:
    schema = validator(INDEX["roots"]["publish"])
    found = definitions("publish", "Publication")
    assert len(found) > 100
    for name, definition in found:
        for example in definition["examples"]:
            publication = parse_publication(example)
            assert type(publication).__name__ == name
            assert publication.to_wire() == example
            without = {member: value for member, value in example.items() if member != "type"}
            made = getattr(models, name).model_validate(example if name == "VendorPublication" else without)
            assert made.to_wire() == example
            schema.validate(made.to_wire())
            for wrong in ({**example, "surprise": 1}, {**example, "to": "nobody:x"}, without):
                with pytest.raises(ValidationError):
                    parse_publication(wrong)


def test_commands_are_read_and_written_as_in_their_examples() -> None:
    commands: TypeAdapter[eventwire.Command] = TypeAdapter(eventwire.Command)
    found = definitions("command", "Command")
    assert len(found) == 4
    for name, definition in found:
        for example in definition["examples"]:
            command = commands.validate_python(example)
            assert type(command).__name__ == name
            assert command.to_wire() == example
            with pytest.raises(ValidationError):
                commands.validate_python({**example, "surprise": 1})


def test_none_means_absent_and_is_never_written() -> None:
    data = models.AdwTextBlockData(adw_id="29fb6a3e", content="x", sequence=None)
    assert data.to_wire() == {"adw_id": "29fb6a3e", "content": "x"}
    with pytest.raises(ValidationError):
        models.AdwTextBlockData(adw_id="29fb6a3e", content=None)  # type: ignore[arg-type]
    made = models.ChatContextUpdateData.model_validate({"context": {"a": None}, "schema": None})
    assert made.to_wire() == {"context": {"a": None}}
    assert models.ChatContextUpdateData(context={}, schema_={"x": 1}).to_wire() == {"context": {}, "schema": {"x": 1}}


def test_times_are_written_in_utc_and_must_say_their_zone() -> None:
    data = models.AdwTextBlockData(adw_id="29fb6a3e", content="x")
    for time, text in [
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc), "2026-01-02T03:04:05Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 120_000, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T01:04:05.12Z"),
        (datetime(1, 1, 1, tzinfo=timezone.utc), "0001-01-01T00:00:00Z"),
    ]:
        made = models.AdwTextBlockPublication(to="adw:29fb6a3e", data=data, time=time)
        assert made.to_wire()["time"] == text
        assert parse_publication(made.to_wire()) == made
    with pytest.raises(ValidationError, match="zone"):
        models.AdwTextBlockPublication(to="adw:29fb6a3e", data=data, time=datetime(2026, 1, 2))


def test_half_a_surrogate_pair_never_reaches_the_wire() -> None:
    def vendor(data: dict[str, Any]) -> dict[str, Any]:
        written = VendorPublication(type="_shop.order_paid", to="room:orders", data=data).to_wire()["data"]
        assert isinstance(written, dict)
        return written

    at = datetime(2026, 11, 20, tzinfo=timezone.utc)
    assert vendor({"a": ["\ud83d", {"b": "\ud83d\ude00 \ude00"}], "at": at}) == {
        "a": ["\ufffd", {"b": "\U0001f600 \ufffd"}],
        "at": "2026-11-20T00:00:00Z",
    }
    assert vendor({"\U0001f600": "\U0001f600"}) == {"\U0001f600": "\U0001f600"}
    for data in ({"cut \ud83d": 1}, {"a": [{"cut \ud83d": 1}]}):
        with pytest.raises(ValueError, match=r"the key 'cut \\ud83d' of data.* has half a surrogate pair"):
            vendor(data)
    later = '{"type":"later.thing","time":"2026-11-20T23:40:01Z","to":"adw:29fb6a3e","data":{"a":"\\ud83d"}}'
    assert parse_incoming(later).to_wire()["data"] == {"a": "\ufffd"}
    assert parse_incoming(later.encode()).to_wire()["data"] == {"a": "\ufffd"}


def test_times_reach_from_the_year_0001_to_the_year_9999() -> None:
    def read(time: str) -> str:
        later = {"type": "later.thing", "time": time, "to": "adw:29fb6a3e", "data": {}}
        written: str = parse_incoming(json.dumps(later)).to_wire()["time"]
        return written

    for time in (
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59.999999Z",
        "2024-02-29T12:00:00.5Z",
    ):
        assert read(time) == time
    for time, why in [
        ("0000-12-31T23:59:59Z", "year 0000"),
        ("2026-02-30T00:00:00Z", "day"),
        ("2026-1-1T0:0:0Z", "RFC"),
    ]:
        with pytest.raises(ValidationError, match=why):
            read(time)
    west = timezone(timedelta(hours=-5))
    with pytest.raises(ValidationError, match="outside of the years 0001 to 9999"):
        VendorPublication(type="_a.b", to="room:a", time=datetime(9999, 12, 31, 23, tzinfo=west), data={})


def test_vendor_space_is_open_and_the_rest_is_not() -> None:
    vendor = VendorPublication(type="_shop.order_paid", to="room:orders", data={"order": 17})
    assert parse_publication(vendor.to_wire()) == vendor
    with pytest.raises(ValidationError):
        VendorPublication(type="shop.order_paid", to="room:orders", data={})


def type_check(directory: Path, text: str) -> subprocess.CompletedProcess[str]:
    file = directory / "consumer.py"
    file.write_text(text)
    configuration = HERE.parent / "pyproject.toml"
    return python(
        "-m", "mypy", "--config-file", str(configuration), str(file), cwd=HERE.parent,
    )  # fmt: skip


def consumer(events: list[dict[str, Any]]) -> str:
    """A consumer that handles every event by its own fields and lets the checker prove that none is forgotten."""
    cases = []
    for event in events:
        data: Any = getattr(models, event["title"]).model_fields["data"].annotation
        fields = {field.alias or name: name for name, field in data.model_fields.items()}
        used = [f"event.data.{fields[member]}" for member in published(event["examples"][0])["data"]]
        cases.append(
            f"    if isinstance(event, models.{event['title']}):\n        return [event.to, {', '.join(used)}]\n"
        )
    return (
        "from typing_extensions import assert_never\nfrom eventwire import Event, models\n\n\n"
        f"def handle(event: Event) -> list[object]:\n{''.join(cases)}    assert_never(event)\n"
    )


def test_a_type_checker_proves_that_no_event_is_forgotten(tmp_path: Path) -> None:
    done = type_check(tmp_path, consumer(INDEX["events"]))
    assert done.returncode == 0, done.stdout + done.stderr
    done = type_check(tmp_path, consumer(INDEX["events"][1:]))
    assert done.returncode == 1, done.stdout + done.stderr
    assert INDEX["events"][0]["title"] in done.stdout


def test_a_type_checker_sees_the_types_of_members(tmp_path: Path) -> None:
    wrong = "from eventwire.models import AdwToolUsePreEvent\n\n\ndef wrong(event: AdwToolUsePreEvent) -> int:\n"
    done = type_check(tmp_path, wrong + "    return event.data.tool_name\n")
    assert 'got "str", expected "int"' in done.stdout, done.stdout + done.stderr
