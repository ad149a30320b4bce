from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Eight images in two folders, whose names are the same in both."""
    for number in range(8):
        folder, name = f"line{number // 4}", f"{number % 4}"
        image, label = tmp_path / f"images/train/{folder}/{name}.png", tmp_path / f"labels/train/{folder}/{name}.txt"
        for file in (image, label):
            file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(image), np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8))
        label.write_text("0 0.5 0.5 0.25 0.25\n")
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/train\nnames: [spot]\n")
    return tmp_path / "data.yaml"


def measure(tool: ModuleType, source: Path, *words: str) -> int:
    return tool.main(["--data", str(source), "--imgsz", "32", "--batch", "2", "--turns", "2", "--batches", "2", *words])


@pytest.mark.parametrize("cache", [[], ["--cache", "disk"]])
def test_both_loaders_are_measured_and_the_data_stays_as_it_is(
    tool: ModuleType, source: Path, cache: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(source.parent.rglob("*"))
    assert measure(tool, source, "--workers", "0", *cache) == 0
    lines = capsys.readouterr().out.splitlines()[-3:]
    speeds = [float(number) for line in lines[:2] for number in re.findall(r"\d+\.\d", line)]
    assert [line.split()[0] for line in lines] == ["ours", "engine", "ours"]
    assert len(speeds) == 6  # the median and two turns of each
    assert min(speeds) > 0
    assert sorted(source.parent.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--batch", "5"], "--batch 5: two batches"), (["--turns", "0"], "--turns 0"), (["--data", "no.yaml"], "no.yaml")],
)
def test_a_mistake_ends_in_one_line(
    tool: ModuleType, source: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measure(tool, source, *words) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("measure_loader: error: ")
    assert message in error


def test_a_set_without_yolo_labels_is_refused(
    tool: ModuleType, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source.parent / "labels").rename(source.parent / "away")
    assert measure(tool, source) == 2
    assert "YOLO label file" in capsys.readouterr().err
