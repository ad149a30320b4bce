"""Suppression in NumPy gives the boxes of the detector's own, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from moat_det.detector.nms import non_max_suppression as by_torch
from moat_det.runtime.nms import non_max_suppression


def predictions(points: int, classes: int, seed: int, box: float = 60.0, digits: int | None = None) -> np.ndarray:
    """(4 + classes, points); scores of few digits are often equal."""
    random = np.random.default_rng(seed)
    rows = [random.random((2, points)) * 200, random.random((2, points)) * box, random.random((classes, points))]
    if digits is not None:
        rows[2] = rows[2].round(digits)
    return np.concatenate(rows).astype(np.float32)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("digits", [None, 1])
@pytest.mark.parametrize("agnostic", [False, True])
def test_the_same_boxes_as_the_detector(seed: int, digits: int | None, agnostic: bool) -> None:
    image, levels = predictions(700, 3, seed, digits=digits), [400, 200, 100]
    for conf in (0.3, np.array([0.2, 0.9, 0.5], np.float32)):
        for classes in (None, [0, 2]):
            for max_det in (300, 7):
                expected = by_torch(
                    torch.from_numpy(image)[None],
                    conf if isinstance(conf, float) else torch.from_numpy(conf),
                    0.45,
                    level_sizes=levels,
                    classes=classes,
                    agnostic=agnostic,
                    max_det=max_det,
                )
                kept, found = non_max_suppression(
                    image, conf, 0.45, level_sizes=levels, classes=classes, agnostic=agnostic, max_det=max_det
                )
                np.testing.assert_array_equal(kept, expected.kept[0].numpy())
                assert found == expected.found[0]


def test_many_candidates_are_compared_the_best_first() -> None:
    image = predictions(9000, 2, seed=1, box=30.0)
    expected = by_torch(torch.from_numpy(image)[None], 0.01, 0.3, max_det=2000)
    kept, _ = non_max_suppression(image, 0.01, 0.3, level_sizes=[9000], max_det=2000)
    np.testing.assert_array_equal(kept, expected.kept[0].numpy())
    assert len(kept) > 300


def test_boxes_that_are_not_finite_or_without_area() -> None:
    image = predictions(50, 2, seed=2)
    image[0, 3], image[3, 4], image[2:4, 5:7] = np.nan, np.inf, 0
    image[:2, 6] = image[:2, 5]
    expected = by_torch(torch.from_numpy(image)[None], 0.0, 0.5)
    kept, _ = non_max_suppression(image, 0.0, 0.5, level_sizes=[50])
    np.testing.assert_array_equal(kept, expected.kept[0].numpy())
    assert np.isfinite(kept).all()


def test_nothing_found() -> None:
    kept, found = non_max_suppression(predictions(10, 1, seed=0), 1.0, 0.5, level_sizes=[8, 2])
    assert kept.shape == (0, 6)
    assert found == 0
