"""The wheel: what is in it, and that it works where nothing else is installed."""

from __future__ import annotations

import os
import re
import subprocess
import venv
import zipfile
from pathlib import Path

import pytest
from support import python

HERE = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("dist")
    # By way of the source distribution, as it is published.
    done = python("-m", "build", "--no-isolation", "--outdir", str(output), str(HERE))
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = output.glob("*.whl")
    return built


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    assert wheel.name == "eventwire-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read("eventwire-0.1.0.dist-info/METADATA").decode()
    sources = {f"eventwire/{path.name}" for path in (HERE / "src" / "eventwire").iterdir() if path.is_file()}
    assert {"eventwire/py.typed", "eventwire/models.py"} <= sources
    assert {name for name in names if not name.startswith("eventwire-0.1.0.dist-info/")} == sources
    needs = re.findall(r"^Requires-Dist: ([a-z0-9-]+)", metadata, re.MULTILINE)
    assert sorted(needs) == ["httpx", "pydantic", "websockets"]
    assert "Requires-Python: >=3.10" in metadata
    assert "# eventwire" in metadata, "the README is the description"


def test_the_wheel_works_where_nothing_else_is_installed(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    interpreter = environment / "bin" / "python"
    # The wheels that the setup has put aside; without them, the registry.
    aside = os.environ.get("EVENTWIRE_WHEELS")
    source = ["--no-index", f"--find-links={aside}"] if aside else []
    pip = [str(interpreter), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *source, str(wheel)]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    script = (
        "import eventwire, eventwire.models as m\n"
        "data = m.AdwTextBlockData(adw_id='29fb6a3e', content='x')\n"
        "event = m.AdwTextBlockPublication(to='adw:29fb6a3e', data=data)\n"
        "assert eventwire.parse_publication(event.to_wire()) == event\n"
        "eventwire.Publisher().close(); eventwire.Listener()\n"
        "print(eventwire.__file__)\n"
    )
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    used = [str(interpreter), "-W", "error", "-c", script]
    done = subprocess.run(used, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path, env=clean)
    assert done.returncode == 0, done.stderr
    assert str(environment) in done.stdout
