"""What `requirements-runtime.txt` pins is what the tests run with."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def pins(name: str) -> dict[str, str]:
    rows = re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / name).read_text(), re.MULTILINE)
    return {package.lower().replace("_", "-"): version for package, version in rows}


def test_the_versions_are_those_of_the_constraints() -> None:
    needed, known = pins("requirements-runtime.txt"), pins("constraints.txt")
    assert {"numpy", "opencv-python-headless", "pillow", "onnxruntime", "pycocotools"} <= needed.keys()
    assert not {"torch", "torchvision", "ultralytics", "matplotlib"} & needed.keys()
    assert needed == {package: known[package] for package in needed}
