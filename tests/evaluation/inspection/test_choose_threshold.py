"""Thresholds on cases whose answer is known by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from moat_det.evaluation.inspection.choose_threshold import Choice, choose_threshold, just_above
from moat_det.evaluation.inspection.intervals import Interval
from moat_det.evaluation.inspection.rates import FalseAlarms, MissedBoxes, PartRate

LOWEST = 0.001


def escape(scores: np.ndarray) -> PartRate:
    return PartRate("defective parts", scores, rises=True)


def overkill(scores: np.ndarray) -> PartRate:
    return PartRate("good parts", scores, rises=False)


def spread(count: int) -> np.ndarray:
    """Scores 0.10, 0.11, ... of so many parts, in no order."""
    return np.random.default_rng(0).permutation(0.1 + np.arange(count) / 200)


# So many parts of which none, or one, or two fail show 95 % at a confidence of 95 %, as any table of samples says.
@pytest.mark.parametrize(("parts", "failures"), [(59, 0), (92, 0), (93, 1), (123, 1), (124, 2)])
def test_as_many_escapes_as_the_tables_allow(parts: int, failures: int) -> None:
    found = choose_threshold(escape(spread(parts)), 0.05, 0.95, LOWEST)
    assert found.threshold == pytest.approx(0.1 + failures / 200)
    assert found.value == failures / parts
    assert found.limit is not None
    assert found.limit <= 0.05
    assert found.needed is None


@pytest.mark.parametrize(("parts", "failures"), [(59, 0), (93, 1)])
def test_as_many_good_parts_rejected_as_the_tables_allow(parts: int, failures: int) -> None:
    scores = spread(parts)
    found = choose_threshold(overkill(scores), 0.05, 0.95, LOWEST)
    assert found.threshold == just_above(np.sort(scores)[::-1][failures])
    assert (scores >= found.threshold).sum() == failures


def test_the_lowest_threshold_where_no_good_part_has_a_detection() -> None:
    assert choose_threshold(overkill(np.zeros(59)), 0.05, 0.95, LOWEST).threshold == LOWEST


@pytest.mark.parametrize(("most", "needed"), [(0.05, 59), (0.001, 2995), (0.01, 299)])
def test_how_many_parts_without_an_escape_it_takes(most: float, needed: int) -> None:
    found = choose_threshold(escape(spread(58)), most, 0.95, LOWEST)
    assert found.threshold is None
    assert found.nearest == LOWEST
    assert found.value == 0
    assert found.needed == needed


def test_defective_parts_without_a_detection_escape_every_threshold() -> None:
    scores = spread(93)
    scores[[3, 50]] = 0
    found = choose_threshold(escape(scores), 0.05, 0.95, LOWEST)
    assert found.threshold is None
    assert found.nearest == LOWEST
    assert found.value == 2 / 93
    assert found.needed is not None
    assert 93 < found.needed < 300
    # One of them alone is what the table allows, and no detected part more.
    scores[50] = 0.9
    assert choose_threshold(escape(scores), 0.05, 0.95, LOWEST).threshold == scores[scores > 0].min()


def test_no_number_of_parts_shows_what_is_not_so() -> None:
    found = choose_threshold(escape(np.array([0.0] * 10 + [0.5] * 90)), 0.05, 0.95, LOWEST)
    assert found.threshold is None
    assert found.needed is None
    assert found.value == 0.1


def test_equal_scores_stay_together() -> None:
    found = choose_threshold(escape(np.array([0.2] * 5 + [0.7] * 88)), 0.05, 0.95, LOWEST)
    assert found.threshold == 0.2
    assert found.value == 0


@pytest.mark.parametrize(
    "rate", [escape(np.zeros(0)), overkill(np.zeros(0)), MissedBoxes(np.zeros(0), np.zeros(0, int))]
)
def test_nothing_drawn_gives_no_threshold(rate: PartRate | MissedBoxes) -> None:
    assert choose_threshold(rate, 0.5, 0.95, LOWEST) == Choice(None, None, None, None, 0)


def test_recall_of_boxes_each_on_a_part_of_its_own() -> None:
    found = choose_threshold(MissedBoxes(spread(59), np.arange(59)), 0.05, 0.95, LOWEST)
    assert found.threshold == pytest.approx(0.1)
    assert found.units == 59


def test_boxes_of_one_part_are_not_independent() -> None:
    """Six boxes on each of ten parts say less than sixty parts: each part counts once where all boxes are found."""
    found = choose_threshold(MissedBoxes(spread(60), np.repeat(np.arange(10), 6)), 0.05, 0.95, LOWEST)
    assert found.threshold is None
    assert found.units == 10
    assert found.needed == 59


def test_false_alarms_per_image() -> None:
    """Of no alarm in 30 images, the limit is ln(20) / 30, which is a little under 0.1."""
    alarms = FalseAlarms(np.array([0.3, 0.8, 0.6]), np.array([0, 4, 4]), np.ones(30, int))
    found = choose_threshold(alarms, 0.1, 0.95, LOWEST)
    assert found.threshold == just_above(0.8)
    assert found.limit == pytest.approx(np.log(20) / 30)
    fewer = FalseAlarms(alarms.scores, alarms.parts, np.ones(29, int))
    assert choose_threshold(fewer, 0.1, 0.95, LOWEST).needed == 30


@dataclass(frozen=True)
class Wavering:
    """A rate whose limit is met, then not, then met again."""

    unit = "parts"
    rises = True
    units = 10
    scores = np.array([0.1, 0.2, 0.3, 0.4])

    def value(self, threshold: float) -> float:
        return 0.0

    def limit(self, threshold: float, confidence: float, units: int | None = None) -> float:
        return 0.9 if threshold == 0.3 else 0.0

    def interval(self, threshold: float, confidence: float) -> Interval | None:
        return None


def test_no_threshold_beyond_one_that_fails() -> None:
    assert choose_threshold(Wavering(), 0.5, 0.95, LOWEST).threshold == 0.2
