"""Pictures that are the frames of a sequence: those of a folder, in the order of the numbers in their names."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from itertools import groupby

from moat_det.messages import some

logger = logging.getLogger(__name__)


def frames_in_order(files: Iterable[str], stride: int) -> list[str]:
    """Put the frames of each folder in order, and give the last of every `stride` of them, as videos are read too.

    Folders that have fewer are named.
    """
    ordered = sorted(files, key=_place)
    folders = {name: list(group) for name, group in groupby(ordered, key=os.path.dirname)}
    if short := [f"{name} ({len(group)})" for name, group in folders.items() if len(group) < stride]:
        logger.warning(
            f"--vid-stride {stride}: no picture is looked at of folders that hold fewer: {some(short, 5)}; give a "
            "smaller stride to see them"
        )
    return [file for group in folders.values() for file in group[stride - 1 :: stride]]


def _place(file: str) -> tuple[list[str | int], str, list[str | int], str]:
    folder, name = os.path.split(file)
    return _numbered(folder), folder, _numbered(name), name  # "lot1" and "lot01" are one number, and two folders


def _numbered(text: str) -> list[str | int]:
    """Split a text into texts and numbers, so that 9 comes before 10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)]
