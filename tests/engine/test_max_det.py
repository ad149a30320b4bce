"""`max_det` is no silent cap."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from moat_det import MOAT


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.WARNING):
        yield caplog


def warnings(log: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in log.messages if "--max-det" in text]


def test_detection_names_each_image_that_is_cut(
    trained: Path, demo: Path, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    model = MOAT(trained / "weights" / "best.pt")
    files = sorted((demo.parent / "images" / "val").glob("*.png"))[:3]
    common = {"imgsz": 64, "conf": 0.0001, "save": False, "project": str(tmp_path)}
    model([str(file) for file in files], max_det=4, **common)
    said = warnings(log)
    assert [Path(text.partition(":")[0]).name for text in said] == [file.name for file in files]
    assert "best 4 are kept" in said[0]
    log.clear()
    model([str(file) for file in files], max_det=100_000, **common)
    assert not warnings(log)


def test_validation_counts_the_images_that_are_cut(
    trained: Path, demo: Path, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    model = MOAT(trained / "weights" / "best.pt")
    common = {"data": str(demo), "imgsz": 64, "conf": 0.0001, "plots": False, "project": str(tmp_path)}
    model.val(max_det=4, **common)
    (said,) = warnings(log)
    assert "12 of 12 images had more than 4 detections" in said
    log.clear()
    model.val(max_det=100_000, **common)
    assert not warnings(log)
