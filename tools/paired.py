"""Paired comparisons: a training with one thing changed beside the default one, of the same seed and data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean
from typing import Any

import numpy as np
from scipy.stats import t as student

from moat_det.benchmark.tables import markdown

CONFIDENCE = 0.95
"""Of the intervals."""

_NONE = "-"


@dataclass(frozen=True)
class Effect:
    """What one change does to AP on one set.

    Attributes:
        name: Of the change.
        default: AP of the default, by seed, of those seeds that are trained with both.
        changed: AP with the change, by the same seeds.
    """

    name: str
    default: Mapping[int, float]
    changed: Mapping[int, float]

    @property
    def differences(self) -> list[float]:
        """With the change less without, by seed."""
        return [self.changed[seed] - self.default[seed] for seed in self.changed]


def spread(default: Mapping[int, float]) -> float | None:
    """Give by how much the seeds of the default differ at most; None with fewer than two."""
    return max(default.values()) - min(default.values()) if len(default) > 1 else None


def half_width(effects: Sequence[Effect]) -> dict[str, float]:
    """Give half of the interval of each mean difference, by name, of those with two seeds or more.

    Two differences say little of how far such differences scatter, and all have the same default in them. So AP is
    taken for a sum of what the change does, what the seed does, and an error, the default being a change like the
    others. The error's variance is that of what remains of all trainings of the set when both are fitted (least
    squares, seeds that are missing left out), and the interval is Student's with the degrees of freedom that remain.
    That takes all trainings to scatter alike.
    """
    trainings = [*effects[0].default.items()] if effects else []
    levels = [0] * len(trainings)
    for number, effect in enumerate(effects, 1):
        trainings += effect.changed.items()
        levels += [number] * len(effect.changed)
    seeds = [seed for seed, _ in trainings]
    design = np.hstack([np.equal.outer(of, sorted(set(of))).astype(float) for of in (levels, seeds)])
    values = np.array([value for _, value in trainings])
    fitted, _, rank, _ = np.linalg.lstsq(design, values)
    freedom = len(values) - int(rank)
    if not freedom:
        return {}
    variance = float(((values - design @ fitted) ** 2).sum()) / freedom
    quantile = float(student.ppf((1 + CONFIDENCE) / 2, freedom))
    return {
        effect.name: quantile * sqrt(2 * variance / len(effect.differences))
        for effect in effects
        if len(effect.differences) > 1
    }


def verdict(effect: Effect, half: float | None, seeds: float | None) -> str:
    """Say in words what a change does.

    It helps or hurts where the mean difference exceeds what the default's seeds differ by, and its interval is on one
    side of 0.

    Args:
        effect: The change.
        half: Of the interval of its mean difference; None where there is none.
        seeds: By how much the default's seeds differ.
    """
    if not effect.differences:
        return "not trained yet"
    if half is None or seeds is None:
        return "one seed says nothing"
    difference = mean(effect.differences)
    if abs(difference) <= max(half, seeds):
        return "no difference seen"
    return "helps" if difference > 0 else "hurts"


def records(
    data: str, seeds: Sequence[int], default: Mapping[int, float], effects: Sequence[Effect]
) -> list[dict[str, Any]]:
    """Give a flat mapping for each change: AP by seed, differences, their mean, its interval and the verdict.

    Args:
        data: Name of the set.
        seeds: Of all trainings.
        default: AP of the default by seed, as far as it is trained.
        effects: Of the set.
    """
    halves, differ = half_width(effects), spread(default)
    rows = []
    for effect in effects:
        half = halves.get(effect.name)
        middle = mean(effect.differences) if effect.differences else None
        low, high = (None, None) if middle is None or half is None else (middle - half, middle + half)
        row: dict[str, Any] = {"set": data, "factor": effect.name}
        for seed in seeds:
            before, after = default.get(seed), effect.changed.get(seed)
            row[f"default, seed {seed}"], row[f"changed, seed {seed}"] = before, after
            row[f"difference, seed {seed}"] = None if before is None or after is None else after - before
        row |= {"mean difference": middle, "low": low, "high": high, "verdict": verdict(effect, half, differ)}
        rows.append(row)
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Give `records` of one set as a Markdown table: the interval in brackets, differences with their sign."""
    names = [name for name in rows[0] if name not in {"set", "low", "high"}]
    heading = [f"{name} [{CONFIDENCE:.0%} interval]" if name == "mean difference" else name for name in names]
    return markdown(heading, [[_cell(row, name) for name in names] for row in rows])


def _cell(row: Mapping[str, Any], name: str) -> str:
    value = row[name]
    if value is None:
        return _NONE
    if isinstance(value, str):
        return value
    if "difference" not in name:
        return f"{value:.3f}"
    known = name == "mean difference" and row["low"] is not None
    return f"{value:+.3f}" + (f" [{row['low']:+.3f}, {row['high']:+.3f}]" if known else "")
