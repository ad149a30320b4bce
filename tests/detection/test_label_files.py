"""Labels in YOLO's format, as the engine writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from moat_det.detection.detections import Detections
from moat_det.detection.label_files import write_labels
from moat_det.engine.results import Results

NAMES = {0: "a", 1: "b"}
ROWS = np.array([[1.5, 2.25, 30.75, 41, 0.91234567, 1], [0, 0, 97, 61, 0.5, 0]], np.float32)


@pytest.mark.parametrize("with_scores", [True, False])
def test_what_the_engine_writes(tmp_path: Path, with_scores: bool) -> None:
    result = Results(np.zeros((61, 97, 3), np.uint8), "p.png", NAMES, boxes=torch.from_numpy(ROWS))
    result.save_txt(tmp_path / "engine.txt", save_conf=with_scores)
    write_labels(tmp_path / "ours.txt", result.detections(), (61, 97), with_scores)
    ours, theirs = (
        [list(map(float, line.split())) for line in (tmp_path / name).read_text().splitlines()]
        for name in ("ours.txt", "engine.txt")
    )
    np.testing.assert_allclose(ours, theirs, rtol=2e-6)
    assert (tmp_path / "ours.txt").read_text().startswith("1 0.16")


def test_without_a_detection_there_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("of an earlier run")
    write_labels(path, Detections.of(ROWS[:0], NAMES), (61, 97), False)
    assert not path.exists()
