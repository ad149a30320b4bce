"""The files of a validation's images, which its labels know by name only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moat_det.errors import UserError


def find_files(images: Sequence[Mapping[str, Any]], splits: Mapping[str, Sequence[str]]) -> dict[int, str]:
    """Find the file of each image among those of a dataset's splits.

    Args:
        images: Entries of a COCO dictionary; `file_name` is the end of a path.
        splits: The image files by split. Where one split has all images, the others are not looked at.

    Returns:
        Image id to path.

    Raises:
        UserError: An image is not there, or there twice.
    """
    every = list(dict.fromkeys(path for paths in splits.values() for path in paths))
    problem = ""
    for paths in (*splits.values(), every):
        found, problem = _find(images, paths)
        if not problem:
            return found
    raise UserError(f"{problem}; give the dataset that was validated as --data")


def _find(images: Sequence[Mapping[str, Any]], paths: Sequence[str]) -> tuple[dict[int, str], str]:
    by_name: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        by_name[Path(path).name].append(path)
    found: dict[int, str] = {}
    for image in images:
        parts = Path(str(image["file_name"]).replace("\\", "/")).parts
        fitting = [path for path in by_name[parts[-1]] if Path(path).parts[-len(parts) :] == parts]
        if len(fitting) != 1:
            return {}, f"{image['file_name']}: {len(fitting) or 'no'} images of the dataset have this name"
        found[image["id"]] = fitting[0]
    return found, ""
