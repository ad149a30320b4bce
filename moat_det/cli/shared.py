"""Options that several subcommands take."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moat_det.errors import UserError
from moat_det.options import option

DATA = "dataset YAML, or demo for the built-in demo set"


@dataclass(frozen=True)
class Dataset:
    """The dataset to work on."""

    data: str = option(..., DATA, metavar="YAML")


@dataclass(frozen=True)
class Grouping:
    """Which images belong together."""

    group: str | None = option(
        None,
        "images with the same match in their names (its first group, else all of it) belong into one split, e.g. "
        "'^(board\\d+)_'",
        metavar="REGEX",
    )


@dataclass(frozen=True)
class Resuming:
    """A run of a backbone alone to go on with."""

    resume: Path | None = option(None, "go on with the run of this last.pt", metavar="LAST.PT")


def check_threshold(threshold: float | None) -> None:
    """Raise UserError where a detection of no score, or of every one, reaches a threshold."""
    if threshold is not None and not 0 < threshold <= 1:
        raise UserError(f"--threshold {threshold}: must be above 0 and at most 1")


def check_resumed(given: Mapping[str, Any], kept: Collection[str]) -> None:
    """Raise UserError where a run is resumed with options that it keeps: these, and those of its folder."""
    others = sorted({*kept, "project", "name", "exist_ok"} & given.keys())
    if given.get("resume") is not None and others:
        flag = others[0].replace("_", "-")
        raise UserError(f"--{flag}: a run that is resumed keeps its own; start a new one to change it")
