"""Pictures that are the frames of a sequence: those of a folder, in the order of the numbers in their names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from itertools import groupby


def frames_in_order(files: Iterable[str], stride: int) -> list[str]:
    """Put the frames of each folder in order, and give the last of every `stride` of them, as videos are read too."""
    ordered = sorted(files, key=_place)
    folders = (list(group) for _, group in groupby(ordered, key=os.path.dirname))
    return [file for folder in folders for file in folder[stride - 1 :: stride]]


def _place(file: str) -> tuple[list[str | int], str, list[str | int], str]:
    folder, name = os.path.split(file)
    return _numbered(folder), folder, _numbered(name), name  # "lot1" and "lot01" are one number, and two folders


def _numbered(text: str) -> list[str | int]:
    """Split a text into texts and numbers, so that 9 comes before 10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)]
