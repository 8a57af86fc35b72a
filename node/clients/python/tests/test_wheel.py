"""The wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import synapsenet

PACKAGE = Path(__file__).resolve().parents[1]


def test_the_same_source_makes_the_same_wheel(tmp_path: Path) -> None:
    pytest.importorskip("flit_core")
    wheels = []
    for folder in ("one", "two"):
        subprocess.run([PACKAGE / "wheel", tmp_path / folder], check=True, env=os.environ | {"PYTHON": sys.executable})
        (wheel,) = (tmp_path / folder).iterdir()
        wheels.append(wheel)
    assert wheels[0].name == f"synapsenet-{synapsenet.__version__}-py3-none-any.whl"
    assert wheels[0].read_bytes() == wheels[1].read_bytes()
    with zipfile.ZipFile(wheels[0]) as packed:
        names = {name for name in packed.namelist() if ".dist-info/" not in name}
        metadata = packed.read(f"synapsenet-{synapsenet.__version__}.dist-info/METADATA").decode()
    source = PACKAGE / "src"
    assert names == {str(path.relative_to(source)) for path in source.rglob("*") if path.suffix in (".py", ".pyi", ".typed")}
    assert "synapsenet/py.typed" in names and "License-Expression: Apache-2.0" in metadata
