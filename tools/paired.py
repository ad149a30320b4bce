"""Paired comparisons: a training with one thing changed beside the default one, of the same seed and data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean
from typing import Any

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

    Two differences say little of how far such differences scatter. So their variance is taken from all changes of the
    set together, each about its own mean, as in an analysis of variance, and the interval is Student's with as many
    degrees of freedom. That takes all changes to scatter alike.
    """
    scattered = [effect for effect in effects if len(effect.differences) > 1]
    freedom = sum(len(effect.differences) - 1 for effect in scattered)
    squares = sum((value - mean(effect.differences)) ** 2 for effect in scattered for value in effect.differences)
    if not freedom:
        return {}
    quantile = float(student.ppf((1 + CONFIDENCE) / 2, freedom))
    return {effect.name: quantile * sqrt(squares / freedom / len(effect.differences)) for effect in scattered}


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
