from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from moat_det.evaluation.inspection.figures import (
    auroc,
    escape,
    overkill,
    overkill_at_zero_escape,
    roc,
    zero_escape_threshold,
)
from moat_det.evaluation.inspection.intervals import exact_interval
from moat_det.evaluation.inspection.parts import Parts


def parts_of(defective: list[float], good: list[float]) -> Parts:
    scores = np.array([*defective, *good])
    count = len(scores)
    kinds = np.arange(count) < len(defective)
    return Parts(tuple(map(str, range(count))), scores, kinds, {number: number for number in range(count)})


# By hand: at 0.5 one of four defective parts passes, and two of five good ones are rejected.
PARTS = parts_of([0.9, 0.8, 0.5, 0.3], [0.6, 0.5, 0.2, 0.1, 0.0])


def test_escape_and_overkill_by_hand() -> None:
    missed, rejected = escape(PARTS, 0.5), overkill(PARTS, 0.5)
    assert missed is not None
    assert rejected is not None
    assert (missed.value, rejected.value) == (0.25, 0.4)
    expected = binomtest(1, 4).proportion_ci(0.95, method="exact")
    assert (missed.low, missed.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_part_is_rejected_at_the_threshold_and_above() -> None:
    at, above = escape(PARTS, 0.3), escape(PARTS, np.nextafter(0.3, 1))
    assert at is not None
    assert above is not None
    assert (at.value, above.value) == (0, 0.25)


def test_zero_escape_by_hand() -> None:
    assert zero_escape_threshold(PARTS) == 0.3
    assert overkill_at_zero_escape(PARTS) == exact_interval(2, 5)


def test_a_defective_part_without_a_detection_rejects_all_for_zero_escape() -> None:
    assert overkill_at_zero_escape(parts_of([0.9, 0.0], [0.0, 0.5])) == exact_interval(2, 2)


def test_roc_by_hand() -> None:
    curve = roc(PARTS)
    assert curve is not None
    assert (curve.escape[0], curve.overkill[0], curve.thresholds[0]) == (1, 0, np.inf)
    assert (curve.escape[-1], curve.overkill[-1]) == (0, 1)
    for threshold, missed, rejected in zip(curve.thresholds[1:], curve.escape[1:], curve.overkill[1:], strict=True):
        there, here = escape(PARTS, threshold), overkill(PARTS, threshold)
        assert there is not None
        assert here is not None
        assert (missed, rejected) == pytest.approx((there.value, here.value))


def test_auroc_by_hand() -> None:
    found = auroc(PARTS)
    # Of 20 pairs the good part is ahead in three, and one is a tie.
    assert found is not None
    assert found.value == pytest.approx(1 - 3.5 / 20)
    assert found.low < found.value < found.high < 1


def test_auroc_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    parts = parts_of((rng.normal(1, 1, 60).round(1)).tolist(), rng.normal(0, 1, 90).round(1).tolist())
    found = auroc(parts)
    assert found is not None
    assert found.value == pytest.approx(roc_auc_score(parts.defective, parts.scores), abs=1e-12)


def test_scores_that_part_the_kinds_wholly_prove_no_auroc_of_one() -> None:
    found = auroc(parts_of([0.8, 0.9, 0.7], [0.1, 0.2, 0.3, 0.4]))
    assert found == exact_interval(3, 3)  # three pairs that share no part


def test_one_pair_that_is_wrong_proves_little_more() -> None:
    rng = np.random.default_rng(0)
    bad = rng.uniform(0.5, 1, 50).tolist()
    apart = auroc(parts_of(bad, rng.uniform(0, 0.4, 50).tolist()))
    almost = auroc(parts_of([*bad[1:], 0.39], [*rng.uniform(0, 0.38, 49).tolist(), 0.4]))
    assert apart is not None
    assert almost is not None
    # A step of the bound would say that an error makes the model better known.
    assert almost.value < 1
    assert 1 - almost.low > 0.5 * (1 - apart.low)


@pytest.mark.parametrize(("defective", "good"), [([], [0.1, 0.2]), ([0.1, 0.2], []), ([], [])])
def test_what_cannot_be_measured_is_none(defective: list[float], good: list[float]) -> None:
    parts = parts_of(defective, good)
    assert (escape(parts, 0.5) is None) == (not defective)
    assert (overkill(parts, 0.5) is None) == (not good)
    assert auroc(parts) is roc(parts) is overkill_at_zero_escape(parts) is None
