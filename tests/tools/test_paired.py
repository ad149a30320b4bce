from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from scipy.stats import t as student


def test_an_effect_counts_where_it_exceeds_what_seeds_differ_by_and_its_interval(tool: ModuleType) -> None:
    default = {0: 0.30, 1: 0.32}
    changes = {
        "better": (0.40, 0.43),
        "worse": (0.20, 0.21),
        "within the seeds": (0.31, 0.33),
        "either way": (0.36, 0.32),
    }
    effects = [tool.Effect(name, default, dict(enumerate(aps))) for name, aps in changes.items()]
    rows = {row["factor"]: row for row in tool.records("steel", (0, 1), default, effects)}
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "better": "helps",
        "worse": "hurts",
        "within the seeds": "no difference seen",
        "either way": "no difference seen",
    }
    # What the second seed is better by, less that of all five: 0.012 by default, then 0.022, 0.002, 0.012, -0.048.
    variance = (0.012**2 + 0.022**2 + 0.002**2 + 0.012**2 + 0.048**2) / 2 / 4
    half = student.ppf(0.975, 4) * (2 * variance / 2) ** 0.5
    assert rows["better"]["mean difference"] == pytest.approx(0.105)
    assert rows["better"]["low"] == pytest.approx(0.105 - half)
    assert rows["worse"]["high"] == pytest.approx(-0.105 + half)
    assert rows["better"]["difference, seed 1"] == pytest.approx(0.11)


@pytest.mark.parametrize("missing", [False, True], ids=["all", "a seed is missing here and there"])
def test_intervals_hold_what_is_true_in_95_of_100(tool: ModuleType, missing: bool) -> None:
    rng, held = np.random.default_rng(0), []
    for _ in range(400):
        of_seed, of_change = rng.normal(0, 0.02, 3), rng.normal(0, 0.02, 8)
        aps = 0.3 + of_seed + np.vstack([[0], of_change[:, None]]) + rng.normal(0, 0.01, (9, 3))
        default = dict(enumerate(aps[0][:2]))
        changed = [
            {seed: value for seed, value in enumerate(row[:2]) if not (missing and seed and number % 4 == 3)}
            for number, row in enumerate(aps[1:])
        ]
        effects = [tool.Effect(str(number), default, each) for number, each in enumerate(changed)]
        halves = tool.half_width(effects)
        held += [
            abs(np.mean(effect.differences) - of_change[int(effect.name)]) <= halves[effect.name]
            for effect in effects
            if effect.name in halves
        ]
        assert len(halves) == (6 if missing else 8)
    assert 0.93 < np.mean(held) < 0.97  # of one default all rows are right or wrong together: 400 such tables scatter


def test_the_interval_of_a_change_that_scatters_holds_back_the_verdict(tool: ModuleType) -> None:
    default = {0: 0.300, 1: 0.301}
    effect = tool.Effect("noisy", default, {0: 0.30, 1: 0.38})
    assert tool.records("steel", (0, 1), default, [effect])[0]["verdict"] == "no difference seen"


def test_what_is_not_trained_yet_leaves_its_place(tool: ModuleType) -> None:
    default = {0: 0.30}
    effects = [tool.Effect("begun", default, {0: 0.35}), tool.Effect("new", default, {})]
    rows = tool.records("steel", (0, 1), default, effects)
    assert [row["verdict"] for row in rows] == ["one seed says nothing", "not trained yet"]
    lines = tool.table(rows).splitlines()
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == [
        *("begun", "0.300", "0.350", "+0.050", "-", "-", "-", "+0.050", "one seed says nothing"),
    ]
    assert "mean difference [95% interval]" in lines[0]
