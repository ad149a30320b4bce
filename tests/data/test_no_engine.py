from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import moat_det

PACKAGE = Path(moat_det.__file__).parent
HEAVY = ("torch", "torchvision", "ultralytics", "albumentations", "matplotlib", "pycocotools")


@pytest.mark.parametrize("room", ["formats", "index", "images"])
def test_each_module_is_imported_without_torch_and_the_engine(room: str) -> None:
    files = sorted((PACKAGE / "data" / room).rglob("*.py"))
    modules = [f"moat_det.data.{room}.{file.stem}" for file in files if file.stem != "__init__"]
    assert len(modules) > 3
    program = (
        "import importlib, sys\n"
        f"for module in {modules}:\n"
        "    importlib.import_module(module)\n"
        f"    heavy = [name for name in {HEAVY} if name in sys.modules]\n"
        "    assert not heavy, f'{module} imports {heavy}'\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert not done.returncode, done.stderr
