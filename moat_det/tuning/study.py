"""What was tried and found, kept in one file, so that a search that was killed goes on."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import sqlalchemy
from optuna.trial import TrialState

from moat_det.errors import UserError
from moat_det.tuning.space import Parameter

logger = logging.getLogger(__name__)

FILE = "study.db"
"""In the folder of a search: SQLite, which a killed process leaves whole; Optuna's own tools open it."""

_REPEATED = "repeated"  # an attribute of a trial
_REPEATS = 100  # proposals in a row that were tried before, after which nothing else is looked for
_RANDOM_TRIALS = 10  # before the sampler goes by what was found
_TRIALS_BEFORE_PRUNING = 4
_SHARE_BEFORE_PRUNING = 0.25  # of a training's epochs
_STATES = {
    TrialState.COMPLETE: "trained",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "cut",
}


@dataclass(frozen=True)
class Tried:
    """A trial as it stands in the file.

    Attributes:
        number: From 0, which has the default settings, as the next one has where it failed.
        state: "trained", "pruned", "failed", or "cut", which goes on.
        ap: The best of its epochs' AP on the part that judges; None where it has none.
        epochs: How many it has.
        seconds: That it took.
        values: Of what is searched, by name.
    """

    number: int
    state: str
    ap: float | None
    epochs: int
    seconds: float
    values: Mapping[str, Any]


class Trial:
    """A trial that is at work.

    Args:
        trial: Optuna's.
        parameters: What is searched.
    """

    def __init__(self, study: optuna.Study, trial: optuna.Trial, parameters: Sequence[Parameter]) -> None:
        self._study, self._trial = study, trial
        self.number = trial.number
        self.values = {each.name: each.suggest(trial) for each in parameters}
        self._seconds = trial.user_attrs.get("seconds", 0.0)
        frozen = study.get_trials(deepcopy=False)[self.number]
        self._reported = max(frozen.intermediate_values, default=0)
        trial.set_user_attr("values", self.values)

    def report(self, epochs: Sequence[float]) -> bool:
        """Note the AP of the epochs so far, and give whether it is worse than half of the others were then."""
        for epoch, ap in enumerate(epochs[self._reported :], self._reported + 1):
            self._trial.report(ap, epoch)
        self._reported = max(self._reported, len(epochs))
        return bool(epochs) and self._trial.should_prune()

    def note(self, seconds: float) -> None:
        """Note that it took so much longer."""
        self._seconds += seconds
        self._trial.set_user_attr("seconds", round(self._seconds, 3))

    def leave_out(self) -> None:
        """End it untried, as its values have been tried; it counts for nothing."""
        self._trial.set_user_attr(_REPEATED, True)
        self._study.tell(self._trial, state=TrialState.FAIL)

    def end(self, state: str, ap: float | None = None) -> None:
        """End it: "trained" with its AP, "pruned" or "failed"."""
        ended = next(each for each, name in _STATES.items() if name == state)
        self._study.tell(self._trial, ap if ended is TrialState.COMPLETE else None, state=ended)


class Study:
    """The trials of a search.

    Args:
        folder: Of the search; it is there.
        settings: What makes the search what it is, of JSON's types; the budget is no part of it.
        parameters: What is searched.
        seed: Of the sampler.
        epochs: Of a training.
        prune: Stop trials that do worse than half of the others did.

    Raises:
        UserError: The file is of another search, or damaged.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        parameters: Sequence[Parameter],
        seed: int,
        epochs: int,
        prune: bool,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._parameters, self._seed = parameters, seed
        file = folder.resolve() / FILE
        url = sqlalchemy.URL.create("sqlite", database=str(file)).render_as_string()
        pruner = optuna.pruners.MedianPruner(_TRIALS_BEFORE_PRUNING, int(_SHARE_BEFORE_PRUNING * epochs))
        try:
            self._study = optuna.create_study(
                storage=url,
                study_name="moat",
                direction="maximize",
                load_if_exists=True,
                pruner=pruner if prune else optuna.pruners.NopPruner(),
            )
        except sqlalchemy.exc.DatabaseError as error:
            raise UserError(f"{file}: no file of a search ({error.orig}); choose another --out") from error
        self._check(file, settings)
        self._default = {each.name: each.default for each in parameters}
        waiting = self._study.get_trials(deepcopy=False, states=[TrialState.WAITING])
        # One that failed is tried again: the others are compared with it.
        if not waiting and all(each.state == "failed" for each in self.tried() if self.is_default(each.values)):
            self._study.enqueue_trial(self._default)

    def _check(self, file: Path, settings: Mapping[str, Any]) -> None:
        settings = json.loads(json.dumps(settings))  # as the file has them
        before = self._study.user_attrs.get("settings")
        if before is None:
            self._study.set_user_attr("settings", settings)
        elif other := sorted(name for name in {*before, *settings} if before.get(name) != settings.get(name)):
            raise UserError(
                f"{file.parent}: holds a search with other settings ({', '.join(other)}): give those again to go on "
                "with it, or choose another --out"
            )

    def is_default(self, values: Mapping[str, Any]) -> bool:
        """Whether the values of what is searched are the default settings."""
        return dict(values) == self._default

    @property
    def spent(self) -> float:
        """Seconds that earlier calls have worked on it."""
        return float(self._study.user_attrs.get("seconds", 0.0))

    def note_spent(self, seconds: float) -> None:
        """Note how many seconds all calls have worked on it."""
        self._study.set_user_attr("seconds", round(seconds, 3))

    def next(self, most: int | None) -> Trial | None:
        """Give the trial that was cut, or a new one; None where there are `most` already, or nothing else to try."""
        tried = self.tried()
        known = [each.values for each in tried if each.state in {"trained", "pruned"}]
        if most is not None and len(tried) >= most and not any(each.state == "cut" for each in tried):
            return None
        for repeats in range(_REPEATS):
            trial = self._propose(at_random=repeats > 0)  # what was good is proposed again and again
            if trial.values not in known:
                return trial
            trial.leave_out()
        logger.info(f"{_REPEATS} proposals in a row were tried before: no other settings are left to try")
        return None

    def _propose(self, at_random: bool) -> Trial:
        trials = self._study.get_trials(deepcopy=False)
        cut = [each for each in trials if each.state is TrialState.RUNNING]
        begun = [each for each in trials if each.state is not TrialState.WAITING]
        # By the trial, so that a search which was stopped tries what it would have tried.
        drawn = np.random.SeedSequence([self._seed, cut[0].number if cut else len(begun)]).generate_state(1)
        first = sys.maxsize if at_random else _RANDOM_TRIALS
        self._study.sampler = optuna.samplers.TPESampler(n_startup_trials=first, seed=int(drawn[0]))
        trial = optuna.Trial(self._study, cut[0]._trial_id) if cut else self._study.ask()
        return Trial(self._study, trial, self._parameters)

    def tried(self) -> list[Tried]:
        """Give all trials so far, in their order; proposals that were tried before are none."""
        return [
            Tried(
                each.number,
                _STATES[each.state],
                max(each.intermediate_values.values(), default=None),
                len(each.intermediate_values),
                each.user_attrs.get("seconds", 0.0),
                each.user_attrs.get("values", each.params),
            )
            for each in self._study.get_trials(deepcopy=False)
            if each.state is not TrialState.WAITING and _REPEATED not in each.user_attrs
        ]

    def importances(self) -> dict[str, float]:
        """Give what share of the trials' differences each parameter explains (functional ANOVA); none of too few.

        Source: Hutter, Hoos, Leyton-Brown: An Efficient Approach for Assessing Hyperparameter Importance, ICML 2014.
        """
        values = [each.value for each in self._study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])]
        if len(values) < 2 * len(self._parameters) or len(set(values)) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self._seed)
        return {
            name: float(share)
            for name, share in optuna.importance.get_param_importances(self._study, evaluator=evaluator).items()
        }
