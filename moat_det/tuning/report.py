"""What a search leaves to read: a table of its trials, and the settings that it found."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from moat_det.benchmark.accuracy.runs import short_name
from moat_det.files import atomic_write_csv, atomic_write_text
from moat_det.paths import is_yaml
from moat_det.tuning.recipe import Recipe
from moat_det.tuning.study import Tried


def write_trials(file: Path, tried: Sequence[Tried], recipe: Recipe) -> None:
    """Write a row for each trial as CSV: what it tried, what it reached, and where it lies."""
    names = list(tried[0].values)
    rows = [
        {
            "trial": each.number,
            "state": each.state,
            "AP": "" if each.ap is None else round(each.ap, 5),
            "epochs": each.epochs,
            "seconds": round(each.seconds, 1),
            **{name: "" if each.values.get(name) is None else each.values[name] for name in names},
            "folder": recipe.run(each.values).folder.relative_to(file.parent).as_posix(),
        }
        for each in tried
    ]
    atomic_write_csv(file, list(rows[0]), rows)


def write_best(file: Path, values: Mapping[str, Any], recipe: Recipe, line: str, data: str) -> None:
    """Write the settings as a YAML that `--cfg` of `moat train` takes, headed by what is known of them.

    Args:
        file: The YAML.
        values: Of what was searched.
        recipe: What else the trainings were given.
        line: What is known.
        data: The dataset, as the user named it.
    """
    named = "--model" if is_yaml(recipe.model) else "--backbone"
    head = [
        f"moat tune found this for {short_name(recipe.model)} on {data}:",
        f"{line}.",
        f"moat train {shlex.join(['--data', data, named, recipe.model, '--cfg', str(file)])}",
    ]
    settings = {name: value for name, value in {**recipe.shared, **values}.items() if value is not None}
    comment = "".join(f"# {' '.join(each.split())}\n" for each in head)
    atomic_write_text(file, comment + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
