"""What a Python team does with schemas/v1 without this package: datamodel-code-generator, import, read.

The generator runs as its users run it, with the options of docs/guides/generate-types.md and nothing prepared for it.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from datamodel_code_generator import Formatter, InputFileType, LiteralType, PythonVersion, generate
from datamodel_code_generator.enums import DataModelType
from pydantic import BaseModel, ValidationError
from support import INDEX, PUBLISHED, published, python

EVENTS: list[dict[str, Any]] = INDEX["events"]


def generated(directory: Path, schema: str, name: str) -> ModuleType:
    """The module that the generator makes of a committed file, imported."""
    output = directory / f"{name}.py"
    generate(
        PUBLISHED / schema,
        input_file_type=InputFileType.OpenAPI if schema.endswith(".openapi.json") else InputFileType.JsonSchema,
        output=output,
        output_model_type=DataModelType.PydanticV2BaseModel,
        target_python_version=PythonVersion.PY_310,
        use_title_as_name=True,
        use_annotated=True,
        enum_field_as_literal=LiteralType.All,
        disable_timestamp=True,
        formatters=[Formatter.BUILTIN],
    )
    specification = importlib.util.spec_from_file_location(f"generated_{name}", output)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    # pydantic looks types up in the module that a class says it is from.
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


def reads(model: type[BaseModel], example: dict[str, Any], name: str) -> None:
    """The example is read as the class of that name and keeps its members."""
    value = model.model_validate(example)
    inner = getattr(value, "root", value)
    assert type(inner).__name__ == name
    # Through another union, where there is one between.
    written = inner.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert {key: written[key] for key in example if key not in ("time", "data")} == {
        key: value for key, value in example.items() if key not in ("time", "data")
    }
    assert set(written["data"]) == set(example["data"])


def refusals(example: dict[str, Any], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Spoilt copies that every reader must refuse."""
    for member in schema["required"]:
        yield {key: value for key, value in example.items() if key != member}
    data = schema["$defs"][schema["properties"]["data"]["$ref"].rsplit("/", 1)[-1]]
    for member in data.get("required", ()):
        yield {**example, "data": {key: value for key, value in example["data"].items() if key != member}}
    yield {**example, "type": "later.thing"}
    yield {**example, "to": "nobody:x"}
    yield {**example, "data": "text"}
    if "seq" in schema["properties"]:
        yield {**example, "seq": 0}
        yield {**example, "seq": 2**53}


def test_every_event_file_alone_gives_a_class_that_reads_its_examples(tmp_path: Path) -> None:
    for at, event in enumerate(EVENTS):
        module = generated(tmp_path, event["schema"], f"event_{at}")
        schema = published(event["schema"])
        model = getattr(module, event["title"])
        for path in event["examples"]:
            reads(model, published(path), event["title"])
        for spoilt in refusals(published(event["examples"][0]), schema):
            with pytest.raises(ValidationError):
                model.model_validate(spoilt)


@pytest.mark.parametrize("schema", [INDEX["roots"]["event"], "flavors/openapi/event.openapi.json"])
def test_the_closed_root_gives_a_union_that_picks_the_class(tmp_path: Path, schema: str) -> None:
    module = generated(tmp_path, schema, "event_root_" + str(len(schema)))
    for event in EVENTS:
        for path in event["examples"]:
            reads(module.Event, published(path), event["title"])
        for spoilt in refusals(published(event["examples"][0]), published(event["schema"])):
            with pytest.raises(ValidationError):
                module.Event.model_validate(spoilt)


def test_the_open_root_takes_what_it_does_not_know(tmp_path: Path) -> None:
    module = generated(tmp_path, INDEX["roots"]["incoming"], "incoming_root")
    for event in EVENTS:
        example = published(event["examples"][0])
        value: Any = module.IncomingEvent.model_validate(example)
        while hasattr(value, "root"):
            value = value.root
        assert type(value).__name__ == event["title"]
        later: Any = module.IncomingEvent.model_validate({**example, "type": "later.thing"})
        assert type(later.root).__name__ == "UnknownEvent"


@pytest.mark.parametrize(
    ("root", "ending", "union"),
    [
        ("command", "Command", "Command"),
        ("publish", "Publication", "Publication"),
        ("publication", "Publication", "KnownPublication"),
    ],
)
def test_client_messages_are_read_and_unknown_members_refused(
    tmp_path: Path, root: str, ending: str, union: str
) -> None:
    module = generated(tmp_path, INDEX["roots"][root], f"{root}_root")
    model = getattr(module, union)
    seen = 0
    for name, definition in published(INDEX["roots"][root])["$defs"].items():
        if not name.endswith(ending):
            continue
        for example in definition.get("examples", ()):
            value = model.model_validate(example)
            while hasattr(value, "root"):
                value = value.root
            assert type(value).__name__ == name
            with pytest.raises(ValidationError):
                model.model_validate({**example, "surprise": 1})
            seen += 1
    assert seen >= 4


def test_the_command_of_the_guide_does_the_same(tmp_path: Path) -> None:
    output = tmp_path / "events.py"
    done = python(
        "-m",
        "datamodel_code_generator",
        f"--input={PUBLISHED / INDEX['roots']['event']}",
        "--input-file-type=jsonschema",
        "--output-model-type=pydantic_v2.BaseModel",
        "--use-title-as-name",
        "--use-annotated",
        "--enum-field-as-literal=all",
        "--formatters=builtin",
        f"--output={output}",
    )
    assert done.returncode == 0, done.stderr
    assert "class AdwTextBlockEvent(BaseModel)" in output.read_text()
