"""The best settings beside the default ones, on images that judged no trial and with seeds that no trial had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Any

from moat_det.benchmark.accuracy import process
from moat_det.tuning import training
from moat_det.tuning.budget import Budget
from moat_det.tuning.recipe import Recipe

SEEDS = 2
"""With so many others default and best are trained, where the time lets."""


@dataclass(frozen=True)
class Comparison:
    """AP of default and best on the data's own `val`, by seed, of trainings that took no part in the choice.

    The trial that was chosen is in part the luckiest of all, and so it would be here.

    Attributes:
        default: Of the default settings.
        best: Of the best, with the same seeds.
    """

    default: tuple[float, ...]
    best: tuple[float, ...]

    @property
    def spread(self) -> float:
        """By how much the seeds of one of the two differ at most; 0 with one seed."""
        return max(max(values) - min(values) for values in (self.default, self.best))

    def line(self, number: int) -> str:
        """Say whether the best, the trial `number`, is better than the default by more than the seeds differ."""
        if not self.best:
            return (
                f"trial {number} was judged best, in part by luck; it could not be compared with the default by "
                "trainings with other seeds: give more time"
            )
        figures = f"AP {mean(self.best):.3f} against {mean(self.default):.3f} on the data's val"
        if len(self.best) == 1:
            return (
                f"trial {number}, the best, has {figures}, each trained anew with one other seed: that may be the "
                "seed's doing; with more time they are trained with another one too"
            )
        gain = mean(self.best) - mean(self.default)
        is_better = "is better than the default" if gain > self.spread else "is not better than the default"
        return (
            f"trial {number}, the best, {is_better} by more than the seeds differ: {figures}, means of "
            f"{len(self.best)} seeds that did not take part in the choice, which differ by up to {self.spread:.3f}"
        )


def compare(
    recipe: Recipe, default: Mapping[str, Any], best: Mapping[str, Any], budget: Budget, needs: float
) -> Comparison:
    """Measure both on the data's `val`, trained with other seeds than in the search as far as the time lets.

    Args:
        recipe: Of the search.
        default: The values of the first trial.
        best: Those of the best.
        budget: The time that is left.
        needs: Seconds of a training.
    """
    found: list[list[float]] = []
    for repeat in range(1, SEEDS + 1):
        pair = [recipe.run(values, repeat) for values in (default, best)]
        missing = [run for run in pair if run.state != "trained"]
        if missing and budget.left < len(missing) * needs:
            break
        if any(training.train(run, lambda: budget.left > 0) != "trained" for run in missing):
            break
        if not all(run.metrics(None) is not None or process.test(run, None) for run in pair):
            break
        found.append([(run.metrics(None) or {})["AP"] for run in pair])
    return Comparison(tuple(values[0] for values in found), tuple(values[1] for values in found))
