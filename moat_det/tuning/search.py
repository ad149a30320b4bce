"""From trial to trial, until the time or the number of trials is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from moat_det.errors import UserError
from moat_det.progress import progress
from moat_det.tuning import training
from moat_det.tuning.budget import Budget
from moat_det.tuning.comparison import SEEDS
from moat_det.tuning.recipe import Recipe
from moat_det.tuning.study import Study, Trial, Tried

logger = logging.getLogger(__name__)

_NOTE_EVERY = 10.0  # seconds between two notes of the time that is spent
_FAILURES = 5  # one after the other, that end a search
_STATES = {"trained": "trained", "stopped": "cut", "failed": "failed"}
_RESERVED = 1 / 3  # of the budget, at most, for the repeats of default and best


class Search:
    """The trials of one call.

    Args:
        study: What was tried so far.
        recipe: What a trial trains.
        budget: The time that is left.
        most: How many trials there shall be in all; None for as many as the time lets.
    """

    def __init__(self, study: Study, recipe: Recipe, budget: Budget, most: int | None) -> None:
        self._study, self._recipe, self._budget, self._most = study, recipe, budget, most
        self._bar: Any = None

    def run(self) -> None:
        """Search.

        Raises:
            UserError: The training with the default settings failed, or several did one after the other.
        """
        with progress(None, "moat tune", int(self._budget.seconds), unit="s") as self._bar:
            failures = 0
            while self._left() > 0 and (trial := self._study.next(self._most)) is not None:
                end = self._train(trial)
                if end == "cut":
                    break
                failures = failures + 1 if end == "failed" else 0
                self._check(trial, failures)
        self._study.note_spent(self._budget.spent)

    def _check(self, trial: Trial, failures: int) -> None:
        run = self._recipe.run(trial.values)
        if failures and self._study.is_default(trial.values):
            raise UserError(f"the training with the default settings failed: {training.last_words(run)}")
        if failures == _FAILURES:
            raise UserError(f"{_FAILURES} trainings failed one after the other, the last: {training.last_words(run)}")

    def _left(self) -> float:
        """Give the seconds that are left for trials: what repeats will take is kept, as far as that is not too much."""
        pair = 2 * longest(self._study.tried())
        fitting = (seeds * pair for seeds in range(SEEDS, 0, -1) if seeds * pair <= _RESERVED * self._budget.seconds)
        return self._budget.left - next(fitting, 0)

    def _train(self, trial: Trial) -> str:
        """Train a trial and judge it; gives how it ended."""
        run, began = self._recipe.run(trial.values), time.monotonic()
        noted, left, pruned = began, self._left(), False
        logger.info(f"trial {trial.number}: {describe(trial.values)}")

        def goes_on() -> bool:
            nonlocal noted, pruned
            now = time.monotonic()
            if now - noted >= _NOTE_EVERY:
                trial.note(now - noted)
                self._study.note_spent(self._budget.spent)
                noted = now
            self._show(trial, epochs := training.epochs_of(run))
            pruned = trial.report(epochs)
            return not pruned and now - began < left

        ended = training.train(run, goes_on, lambda: time.monotonic() - began < left)
        trial.note(time.monotonic() - noted)
        epochs = training.epochs_of(run)
        trial.report(epochs)
        state = "pruned" if pruned and ended == "stopped" else _STATES[ended]
        if state == "failed":
            logger.warning(f"trial {trial.number} failed: {training.last_words(run)}; all it said is in {run.folder}")
        else:
            best = f"AP {max(epochs):.3f}" if epochs else "no AP yet"
            logger.info(f"trial {trial.number} {state}: {best}, {len(epochs)} epochs")
        if state != "cut":
            trial.end(state, max(epochs) if state == "trained" else None)
        return state

    def _show(self, trial: Trial, epochs: list[float]) -> None:
        known = [each.ap for each in self._study.tried() if each.state == "trained" and each.ap is not None]
        best = f", best AP {max(known):.3f}" if known else ""
        self._bar.set_description(f"moat tune: trial {trial.number}, after {len(epochs)} epochs{best}", refresh=False)
        self._bar.update(int(self._budget.spent) - self._bar.n)


def longest(tried: list[Tried]) -> float:
    """Give the seconds of the longest training that went to its end; 0 where none did."""
    return max((each.seconds for each in tried if each.state == "trained"), default=0.0)


def describe(values: Mapping[str, Any]) -> str:
    """Give the values of a trial in a line, without the arguments that it leaves out."""
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)
