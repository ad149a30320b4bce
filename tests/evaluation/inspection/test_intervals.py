from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, poisson

from moat_det.evaluation.inspection.intervals import (
    clustered_interval,
    count_interval,
    exact_interval,
    lower_limit,
    percentile_interval,
    resampled,
    upper_limit,
)


@pytest.mark.parametrize(("events", "trials"), [(0, 1), (0, 300), (3, 300), (299, 300), (300, 300)])
def test_the_exact_interval_is_that_of_scipy(events: int, trials: int) -> None:
    found = exact_interval(events, trials)
    expected = binomtest(events, trials).proportion_ci(0.95, method="exact")
    assert found == pytest.approx((events / trials, expected.low, expected.high), abs=1e-12)


def test_one_sided_limits_by_hand() -> None:
    # No escape among n parts happens with probability (1 - rate)^n.
    assert upper_limit(0, 300) == pytest.approx(1 - 0.05 ** (1 / 300), abs=1e-12)
    assert lower_limit(300, 300) == pytest.approx(0.05 ** (1 / 300), abs=1e-12)
    assert (lower_limit(0, 300), upper_limit(300, 300)) == (0, 1)


def test_there_is_no_interval_of_nothing() -> None:
    assert exact_interval(0, 0) is None
    assert clustered_interval(np.zeros(3), np.zeros(3)) is None
    assert count_interval(np.zeros(0), np.zeros(0)) is None
    assert percentile_interval(0.5, np.full(3, np.nan)) is None


def test_boxes_that_go_the_same_way_count_as_one() -> None:
    found = np.repeat([1, 0], [30, 10])
    fours, ones = clustered_interval(4 * found, np.full(40, 4)), clustered_interval(found, np.ones(40))
    assert fours is not None
    assert ones is not None
    assert fours.value == ones.value == 0.75
    # Fewer degrees of freedom than the number of boxes would have: a little wider still.
    assert 0 < ones.low - fours.low < 0.02
    assert 0 < fours.high - ones.high < 0.02


def test_single_boxes_have_the_exact_interval_of_one_less() -> None:
    found = clustered_interval(np.repeat([1, 0], [30, 10]), np.ones(40))
    assert found == pytest.approx(exact_interval(0.75 * 39, 39), abs=1e-12)


def test_a_rate_of_one_has_as_many_trials_as_clusters() -> None:
    trials = np.array([5, 5, 5, 0])
    assert clustered_interval(trials, trials) == exact_interval(3, 3)


def test_an_even_chance_is_the_median_between_its_neighbours() -> None:
    """The one-sided limit with a confidence of 0.5 is a two-sided interval without width, where Student's t is 0."""
    events, trials = np.array([1, 0, 2]), np.array([2, 2, 3])
    for interval in (clustered_interval, count_interval):
        with np.errstate(all="raise"):
            below, found, above = (interval(events, trials, confidence) for confidence in (-0.01, 0.0, 0.01))
        assert below is not None
        assert found is not None
        assert above is not None
        assert below.high < found.high < above.high


def test_the_number_of_events_by_hand() -> None:
    found = count_interval(np.zeros(100), np.ones(100))
    assert found == pytest.approx((0, 0, -np.log(0.025) / 100))  # nothing happens with probability exp(-rate)
    even = count_interval(np.ones(100), np.ones(100))
    assert even is not None
    assert poisson.sf(99, 100 * even.low) == pytest.approx(0.025)
    assert poisson.cdf(100, 100 * even.high) == pytest.approx(0.025)


def test_events_that_crowd_make_the_interval_wider() -> None:
    even = count_interval(np.ones(100), np.ones(100))
    crowded = count_interval(np.repeat([10, 0], [10, 90]), np.ones(100))
    assert even is not None
    assert crowded is not None
    assert crowded.value == even.value == 1
    assert crowded.high - crowded.low > 2.5 * (even.high - even.low)


def test_resamples_draw_as_many_parts_as_there_are_and_repeat() -> None:
    draws = np.concatenate(list(resampled(7, resamples=100, seed=3, at_once=30)))
    assert draws.shape == (100, 7)
    assert set(draws.sum(axis=1)) == {7}
    assert abs(draws.mean() - 1) < 1e-12
    assert (draws == np.concatenate(list(resampled(7, resamples=100, seed=3, at_once=30)))).all()
    assert (draws != np.concatenate(list(resampled(7, resamples=100, seed=4, at_once=30)))).any()


def test_the_percentile_interval_is_the_middle() -> None:
    figures = np.concatenate([np.arange(1001) / 1000, [np.nan]])
    assert percentile_interval(0.4, figures) == pytest.approx((0.4, 0.025, 0.975))
