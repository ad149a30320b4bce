"""What a trial trains: the settings that all trials share, with its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moat_det.benchmark.accuracy.runs import WHERE_IT_RUNS, Run
from moat_det.benchmark.accuracy.sets import BenchSet


@dataclass(frozen=True)
class Recipe:
    """The trainings of a search, but for what is searched.

    Attributes:
        model: As the user wrote it: a backbone, or a model YAML.
        set: Its `train` trains, its `val` judges the trials, its `test` is the data's own `val`.
        arguments: The arguments of `moat train` that the user gave.
        seed: Of the trainings.
        root: The folder of all runs.
    """

    model: str
    set: BenchSet
    arguments: Mapping[str, Any]
    seed: int
    root: Path

    @property
    def shared(self) -> dict[str, Any]:
        """The arguments that make a training what it is; of the others it does not matter where it runs."""
        return {name: value for name, value in self.arguments.items() if name not in WHERE_IT_RUNS}

    def run(self, values: Mapping[str, Any], repeat: int = 0) -> Run:
        """Give the training with these values of what is searched.

        Args:
            values: By name; None leaves an argument out.
            repeat: How many seeds after the first.
        """
        given = {name: value for name, value in values.items() if value is not None}
        return Run(self.model, self.set, self.seed + repeat, {**self.arguments, **given}, self.root)
