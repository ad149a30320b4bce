from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from tools.accuracy_against_time import main


def write(folder: Path, name: str, content: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    return folder


def figures(**models: float) -> list[dict[str, object]]:
    return [
        {"model": name, "set": "parts", "tested": "whole", "AP": {"mean": ap, "seeds": 2}, "AP50": {"mean": 2 * ap}}
        for name, ap in models.items()
    ]


@pytest.fixture
def measured(tmp_path: Path) -> list[str]:
    """Two sizes; the times of one model and size are missing."""
    small = write(tmp_path / "b160", "bench.json", {"recipe": {"imgsz": 160}, "models": figures(ours=0.2, theirs=0.1)})
    large = write(tmp_path / "b224", "bench.json", {"recipe": {"imgsz": 224}, "models": figures(ours=0.3, theirs=0.15)})
    common = {"format": "openvino", "mode": "forward"}
    rows = [
        {**common, "model": "ours", "imgsz": "160", "dtype": "float32", "window": "full", "seconds": 0.010},
        {**common, "model": "ours", "imgsz": "160", "dtype": "bfloat16", "window": "full", "seconds": 0.007},
        {**common, "model": "ours", "imgsz": "160", "dtype": "float32", "window": "14", "seconds": 0.009},
        {**common, "model": "theirs", "imgsz": "160", "dtype": "float32", "window": "-", "seconds": 0.005},
        {**common, "model": "ours", "imgsz": "224", "dtype": "float32", "window": "full", "seconds": 0.020},
    ]
    times = write(tmp_path / "times", "benchmark.json", {"rows": rows})
    return ["--bench", str(small), str(large), "--times", str(times), "--set", "parts", "--out"]


def test_points_of_both(measured: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "curve.png"
    assert main([*measured, str(out)]) == 0
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows == [
        ["theirs", "160", "2", "0.100", "0.200", "5.0"],
        ["ours", "160", "2", "0.200", "0.400", "10.0"],
        ["ours", "224", "2", "0.300", "0.600", "20.0"],
    ]
    assert cv2.imread(str(out)) is not None


def test_another_number_format(measured: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*measured, str(tmp_path / "curve.png"), "--dtype", "bfloat16"]) == 0
    assert "7.0" in capsys.readouterr().out


def test_what_is_not_there(measured: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*measured, str(tmp_path / "curve.png"), "--format", "onnx"]) == 2
    assert "has no time of onnx in float32 with window full" in capsys.readouterr().err
    assert main([*measured, str(tmp_path / "curve.png"), "--times", str(tmp_path)]) == 2
    assert "benchmark.json is not there" in capsys.readouterr().err
