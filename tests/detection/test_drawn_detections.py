"""What is drawn of detections."""

from __future__ import annotations

import numpy as np
import pytest

from moat_det.detection.detections import Detections
from moat_det.detection.pictures import draw_detections
from moat_det.report import pictures

NAMES = {0: "a", 1: "b"}
FOUND = Detections.of(np.array([[20, 20, 60, 60, 0.9, 1]], np.float32), NAMES)
IMAGE = np.zeros((80, 100, 3), np.uint8)


def test_boxes_names_and_scores() -> None:
    whole = draw_detections(IMAGE, FOUND)
    assert whole.shape == IMAGE.shape
    assert whole[40, 18:22].any()
    assert not whole[30:50, 30:50].any()
    without_score = draw_detections(IMAGE, FOUND, scores=False)
    without_name = draw_detections(IMAGE, FOUND, names=False)
    assert (whole > 0).sum() > (without_score > 0).sum() > (without_name > 0).sum() > 0
    assert not draw_detections(IMAGE, FOUND, boxes=False).any()
    assert (draw_detections(IMAGE, FOUND, line_width=4) > 0).sum() > (whole > 0).sum()
    assert not IMAGE.any()


def test_bands_become_a_picture() -> None:
    assert draw_detections(np.zeros((80, 100, 1), np.uint8), FOUND).shape == (80, 100, 3)
    assert draw_detections(np.zeros((80, 100, 5), np.uint8), FOUND).shape == (80, 100, 3)


def test_a_picture_without_matplotlib(monkeypatch: pytest.MonkeyPatch, log: list[str]) -> None:
    """ASCII looks the same; of other letters it is said once that they do not."""
    expected = draw_detections(IMAGE, FOUND)
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    pictures._finds_fonts.cache_clear()
    np.testing.assert_array_equal(draw_detections(IMAGE, FOUND), expected)
    assert not log
    other = Detections(FOUND.xyxy, FOUND.score, FOUND.cls, {1: "\u5212\u75d5"})
    for _ in range(2):
        assert draw_detections(IMAGE, other).any()
    assert len(log) == 1
    assert "pip install matplotlib" in log[0]
    pictures._finds_fonts.cache_clear()
