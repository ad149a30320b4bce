from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from moat_det.evaluation.inspection.box_matches import ClassMatches
from moat_det.evaluation.inspection.calibration import calibrate
from moat_det.evaluation.inspection.parts import Parts
from moat_det.evaluation.inspection.shown_probability import calibrated


def drawn(count: int, temperature: float, bias: float) -> tuple[list[ClassMatches], Parts]:
    """Detections that are right as often as their scores say after temperature and bias, four an image."""
    rng = np.random.default_rng(0)
    scores = np.sort(rng.uniform(0.05, 0.95, count))[::-1]
    right = rng.random(count) < expit(logit(scores) / temperature + bias)
    images = rng.permutation(count) // 4
    parts = Parts(tuple(map(str, range(count // 4))), np.zeros(count // 4), np.zeros(count // 4, dtype=bool), {})
    parts = Parts(parts.names, parts.scores, parts.defective, {number: number for number in range(count // 4)})
    none = np.zeros(0)
    return [ClassMatches(1, scores, images, right[None], ~right[None], none.astype(int), none, none[None])], parts


def test_temperature_and_bias_that_the_detections_were_drawn_by_are_found() -> None:
    found = calibrate(*drawn(8000, temperature=0.5, bias=1.5))
    assert found is not None
    assert found.temperature == pytest.approx(0.5, rel=0.15)
    assert found.bias == pytest.approx(1.5, rel=0.15)
    assert found.ece_before > 0.15
    assert found.ece_after < 0.03
    assert found.fitted_on + found.shown_on == 8000


def test_the_ranges_hold_the_share_that_is_right() -> None:
    found = calibrate(*drawn(8000, temperature=1, bias=0))
    assert found is not None
    assert sum(each.detections for each in found.before) == found.shown_on
    for each in found.before:
        assert each.low <= each.probability <= each.high
        assert each.right.low - 0.03 < each.probability < each.right.high + 0.03


def test_too_few_detections_fit_nothing() -> None:
    assert calibrate(*drawn(36, temperature=1, bias=0)) is None


def test_detections_that_are_all_right_fit_nothing() -> None:
    (matches,), parts = drawn(400, temperature=1, bias=0)
    all_right = np.ones_like(matches.right)
    assert calibrate([ClassMatches(**{**vars(matches), "right": all_right, "wrong": ~all_right})], parts) is None


def test_the_probability_of_a_score() -> None:
    assert calibrated(np.array([0.0, 0.2, 1.0]), 1.0, 0.0) == pytest.approx([0, 0.2, 1], abs=1e-5)
    assert calibrated(np.array(0.2), 0.5, 1.0) == pytest.approx(expit(2 * logit(0.2) + 1))
    shown = calibrated(np.linspace(0.01, 0.99, 50), 3.0, -1.0)
    assert (np.diff(shown) > 0).all()  # the order of scores stays
