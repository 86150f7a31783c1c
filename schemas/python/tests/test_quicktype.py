"""What quicktype makes of every event file in Python: plain data classes, here written and run."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from support import INDEX, PUBLISHED, published

CODEGEN = PUBLISHED.parent / "tests" / "codegen"


def test_the_data_classes_read_and_write_every_example_and_no_spoilt_one(tmp_path: Path) -> None:
    assert (CODEGEN / "node_modules").is_dir(), "run `cargo xtask setup`"
    command = ["node", str(CODEGEN / "render.mjs"), "python", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    for event in INDEX["events"]:
        source = tmp_path / f"{event['title']}.txt"
        module_file = source.rename(tmp_path / f"{event['title']}.py")
        specification = importlib.util.spec_from_file_location(f"quicktype_{event['title']}", module_file)
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        # dataclasses look types up in the module that a class says it is from.
        sys.modules[specification.name] = module
        specification.loader.exec_module(module)
        # It writes what it takes for acronyms its own way, and has no option against it in Python: ChatHTMLEvent.
        (model,) = (value for name, value in vars(module).items() if name.lower() == event["title"].lower())
        for path in event["examples"]:
            example = published(path)
            back = model.from_dict(example).to_dict()
            assert {key: back[key] for key in example if key not in ("time", "data")} == {
                key: value for key, value in example.items() if key not in ("time", "data")
            }
            assert set(back["data"]) == set(example["data"]), path
        for member in published(event["schema"])["required"]:
            with pytest.raises((AssertionError, ValueError, TypeError)):
                model.from_dict({key: value for key, value in example.items() if key != member})
        with pytest.raises(ValueError, match=r"later\.thing"):
            model.from_dict({**example, "type": "later.thing"})
