"""The runtime imports neither torch nor the engine, and changes no environment variable; nor do its two commands."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

AWAY = """
import importlib.util, os, sys
import cv2  # sets variables of its own

AWAY = {"torch", "torchvision", "ultralytics", "matplotlib", "albumentations", "jinja2", "vl_convert", "safetensors"}

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in AWAY:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in AWAY else find_spec(name, package)
sys.meta_path.insert(0, Missing())
before = dict(os.environ)
"""
IMPORT = """
import moat_det.runtime
assert dict(os.environ) == before
known = set(sys.stdlib_module_names) | {"cv2", "numpy", "PIL", "moat_det", "_distutils_hack", "__main__"}
print(sorted({name.split(".")[0] for name, module in sys.modules.items() if module} - known))
"""
COMMAND = """
from moat_det.cli.main import run
try:
    code = run(sys.argv[1], sys.argv[2:])
except SystemExit as stop:
    code = stop.code
changed = {name for name in {*before, *os.environ} if before.get(name) != os.environ.get(name)}
# scikit-learn sets the first two at its import, a training the third.
allowed = {"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"} | ({"GOMP_SPINCOUNT"} if sys.argv[1] == "train" else set())
assert changed <= allowed, changed
sys.exit(code)
"""


def start(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", AWAY + script, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_it_needs() -> None:
    done = start(IMPORT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_detect(exported: Callable[..., Path], images: Path, tmp_path: Path) -> None:
    given = ["--weights", str(exported("onnx")), "--source", str(images.parent / "images/val"), "--conf", "0.3"]
    done = start(COMMAND, "detect", *given, "--save-json", "--project", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert len(json.loads((tmp_path / "detect/predictions.json").read_text())) > 20
    assert len(list((tmp_path / "detect").glob("*.jpg"))) == 4


def test_val(exported: Callable[..., Path], images: Path, tmp_path: Path) -> None:
    given = ["--weights", str(exported("onnx")), "--data", str(images), "--project", str(tmp_path)]
    done = start(COMMAND, "val", *given)
    assert done.returncode == 0, done.stderr
    assert "no curves are drawn, since matplotlib is not installed" in done.stdout
    written = {file.name for file in (tmp_path / "val").iterdir()}
    assert written >= {"ground_truth.json", "predictions.json", "metrics.json", "inspection.json", "settings.json"}
    done = start(COMMAND, "val", *given, "--report")
    assert done.returncode == 2
    assert "--report needs the packages jinja2, matplotlib, vl_convert" in done.stderr


@pytest.mark.parametrize("command", ["detect", "val"])
def test_help(command: str) -> None:
    done = start(COMMAND, command, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: moat {command} --weights FOLDER")


@pytest.mark.parametrize(
    "words", [("train", "--data", "demo"), ("detect", "--weights", "best.pt", "--source", "a.png")]
)
def test_what_needs_torch_says_so(words: tuple[str, ...]) -> None:
    done = start(COMMAND, *words)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"moat {words[0]} needs the package " in done.stderr
    assert "with what moat export wrote as --weights" in done.stderr
