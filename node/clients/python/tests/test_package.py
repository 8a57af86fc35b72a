"""The package itself: its stubs, types, version and wheel."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

from conftest import ROOT, Node

import synapsenet
from synapsenet import AsyncMemory, Memory
from synapsenet.errors import IN_A_MOMENT, STOPPING
from synapsenet.requests import MODES
from synapsenet.v1 import node_pb2

PACKAGE = Path(__file__).resolve().parents[1]
WRITTEN = re.compile(r"_pb2(_grpc)?\.pyi?$")


def written(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((folder / "synapsenet" / "v1").iterdir()) if WRITTEN.search(path.name)}


def test_the_stubs_say_what_the_schema_says(tmp_path: Path) -> None:
    subprocess.run([PACKAGE / "stubs", tmp_path], check=True, env=os.environ | {"PYTHON": sys.executable})
    now, anew = written(PACKAGE / "src"), written(tmp_path)
    assert sorted(now) == sorted(anew) and len(now) == 17
    for name, text in anew.items():
        assert now[name] == text, f"{name} is not what the schema says: run node/clients/python/stubs"


def test_the_types_hold() -> None:
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(ROOT / "target" / "mypy")]
    done = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_one_version() -> None:
    workspace = re.search(r'\[workspace\.package\][^\[]*?^version = "(.+?)"', (ROOT / "Cargo.toml").read_text(), re.M | re.S)
    project = re.search(r'^version = "(.+?)"', (PACKAGE / "pyproject.toml").read_text(), re.M)
    assert workspace is not None and project is not None
    assert workspace[1] == project[1] == synapsenet.__version__


def test_both_kinds_of_memory_take_the_same_arguments() -> None:
    def calls(kind: type) -> dict[str, dict[str, object]]:
        public = {name: call for name, call in vars(kind).items() if not name.startswith("_") and inspect.isfunction(call)}
        return {name: {one.name: one.default for one in inspect.signature(call).parameters.values()} for name, call in public.items()}

    waiting, other = calls(Memory), calls(AsyncMemory)
    # The one is a property, and the other has to be waited for.
    assert other.pop("channel") == {"self": inspect.Parameter.empty}
    assert waiting == other and len(waiting) > 15
    assert inspect.signature(Memory.__init__).parameters.keys() == inspect.signature(AsyncMemory.__init__).parameters.keys()


def test_everything_that_is_public_says_what_it_is() -> None:
    for name in synapsenet.__all__:
        value = getattr(synapsenet, name)
        if not inspect.isclass(value):
            continue
        assert inspect.getdoc(value), name
        for member, call in vars(value).items():
            if not member.startswith("_") and (inspect.isfunction(call) or isinstance(call, property)):
                assert inspect.getdoc(call), f"{name}.{member}"


def test_each_mode_of_search_has_a_name() -> None:
    named = {f"SEARCH_MODE_{mode.upper()}" for mode in MODES}
    assert named == set(node_pb2.SearchMode.keys()) - {"SEARCH_MODE_UNSPECIFIED"}
    assert all(node_pb2.SearchMode.Name(value) == f"SEARCH_MODE_{mode.upper()}" for mode, value in MODES.items())


def test_each_reason_that_is_acted_on_stands_in_the_schema() -> None:
    reasons = {name.removeprefix("ERROR_REASON_") for name in node_pb2.ErrorReason.keys()}
    assert IN_A_MOMENT <= reasons and {STOPPING, "DEADLINE_PASSED"} <= reasons


def test_the_page_of_the_package_says_what_is_so(node: Node) -> None:
    """Every piece of Python in README.md runs, one after the other."""
    page = (PACKAGE / "README.md").read_text()
    pieces = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(pieces) >= 4
    assert "Maria" in node.python("-c", "\n".join(pieces))
