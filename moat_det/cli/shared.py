"""Options that several subcommands take."""

from __future__ import annotations

from dataclasses import dataclass

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
