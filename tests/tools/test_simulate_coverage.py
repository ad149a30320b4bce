from __future__ import annotations

import numpy as np
import pytest

from moat_det.evaluation.inspection.intervals import Interval
from tools.simulate_coverage import Case, Rng, cases, coverage


@pytest.fixture(scope="module")
def listed() -> dict[str, Case]:
    return {
        case.name.split(":")[0].split(" ")[0]: case for case in cases(100, resamples=100, seed=0, everything=20_000)
    }


def test_coverage_is_the_share_that_holds_the_truth() -> None:
    def interval(rng: Rng) -> Interval:
        value = float(rng.random())
        return Interval(value, value - 0.2, value + 0.2)

    share, width = coverage(Case("by hand", 0.5, interval, None), simulations=2000, seed=0)
    assert share == pytest.approx(0.4, abs=0.04)
    assert width == pytest.approx(0.4)


# With so few simulations a coverage of 95 % falls below these by chance once in some thousand; `python -m
# tools.simulate_coverage` measures it.
@pytest.mark.parametrize(("name", "simulations"), [("escape", 150), ("AUROC", 150), ("recall", 60), ("AP", 20)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(
    listed: dict[str, Case], name: str, simulations: int
) -> None:
    share, _ = coverage(listed[name], simulations, seed=1)
    assert share >= 0.95 - 3.5 * np.sqrt(0.95 * 0.05 / simulations)
