"""What the contracts of import-linter (pyproject.toml) cannot see."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]

# Imports each module of a package, as a user of it alone would, and tells what came along.
WHAT_COMES_ALONG = """
import importlib, os, pkgutil, sys

import cv2  # sets variables of its own

name, before = sys.argv[1], dict(os.environ)
package = importlib.import_module(name)
for module in pkgutil.walk_packages(package.__path__, f"{name}."):
    importlib.import_module(module.name)
print(*sorted({"albumentations", "matplotlib", "torch", "torchvision", "ultralytics"} & sys.modules.keys()))
print(sum(module.startswith(f"{name}.") for module in sys.modules))
print(sorted(before.items() ^ os.environ.items()))
"""


def test_import_linter_sees_every_file() -> None:
    graph = grimp.build_graph("moat_det", "tools", cache_dir=None)
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for room in ("moat_det", "tools")
        for path in (ROOT / room).rglob("*.py")
    }
    assert graph.modules == files


@pytest.mark.parametrize("room", ["formats", "images", "index"])
def test_a_room_without_the_engine(room: str) -> None:
    words = [sys.executable, "-c", WHAT_COMES_ALONG, f"moat_det.data.{room}"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    came_along, count, changed = done.stdout.splitlines()
    assert came_along == ""
    assert changed == "[]"
    assert int(count) == sum(path.name != "__init__.py" for path in (ROOT / "moat_det/data" / room).rglob("*.py"))
