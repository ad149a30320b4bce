"""Whether the entries of a COCO JSON are what the evaluation reads of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moat_det.errors import UserError
from moat_det.messages import one_line
from moat_det.values import is_number

# What the entries of each list must have.
_GROUND_TRUTH = {
    "images": ("id", "file_name"),
    "annotations": ("id", "image_id", "category_id", "bbox"),
    "categories": ("id", "name"),
}
_RESULTS = {"predictions": ("image_id", "category_id", "bbox", "score")}


def check_ground_truth(path: Path, coco: Mapping[str, Any]) -> None:
    """Make sure that every entry of a ground truth has ids, a box, and numbers where they must be.

    Args:
        path: Of the COCO JSON.
        coco: Its content, with the lists `images`, `annotations` and `categories`.

    Raises:
        UserError: One has not; the message names it.
    """
    check_entries(path, coco, _GROUND_TRUTH)
    for annotation in coco["annotations"]:
        name = f"annotation {annotation['id']}"
        _check_box(path, name, annotation["bbox"])
        width, height = annotation["bbox"][2:]
        for key, default in (("area", width * height), ("iscrowd", 0)):
            _check_number(path, name, key, annotation.get(key, default))


def check_results(path: Path, results: Sequence[Any], ground_truth: Mapping[str, Any]) -> None:
    """Make sure that every entry of COCO results is a detection in an image of the ground truth.

    Args:
        path: Of the results.
        results: Its content.
        ground_truth: The COCO dictionary, which `check_ground_truth` has seen.

    Raises:
        UserError: One is not; the message names it.
    """
    coco = {**ground_truth, "predictions": results}
    check_entries(path, coco, _RESULTS)
    for position, entry in enumerate(results):
        _check_box(path, f"predictions[{position}]", entry["bbox"])
        _check_number(path, f"predictions[{position}]", "score", entry["score"])
    check_references(path, coco, "image_id", "images", "predictions")
    check_references(path, coco, "category_id", "categories", "predictions")


def check_entries(
    path: Path, coco: Mapping[str, Any], required: Mapping[str, Sequence[str]], words: bool = False
) -> None:
    """Make sure that every entry is a dictionary with the keys it needs, ids among them that can be compared.

    Args:
        path: Of the COCO JSON.
        coco: Its content, with the lists that are asked about.
        required: The keys by list; an `id` must occur once.
        words: Whether ids may be words, beside whole numbers.

    Raises:
        UserError: One is not; the message names it.
    """
    for part, keys in required.items():
        seen: set[int | str] = set()
        for position, entry in enumerate(coco[part]):
            missing = [key for key in keys if not isinstance(entry, dict) or key not in entry]
            if missing:
                raise UserError(f"{path}: {part}[{position}] has no '{missing[0]}', which the COCO format requires")
            for key in keys:
                if key.endswith("id") and not isinstance(entry[key], (int, str) if words else int):
                    raise UserError(
                        f"{path}: {part}[{position}] has the {key} {one_line(json.dumps(entry[key]))}; "
                        f"it must be a whole number{' or a word' if words else ''}"
                    )
            if "id" not in keys:
                continue
            if entry["id"] in seen:
                raise UserError(f"{path}: {part} holds the id {entry['id']} twice; every id must occur once")
            seen.add(entry["id"])


def check_references(path: Path, coco: Mapping[str, Any], key: str, part: str, of: str = "annotations") -> None:
    """Make sure that what every entry of the list `of` has as `key` is an id of the list `part`.

    `check_entries` comes first.

    Raises:
        UserError: One is not; the message names it.
    """
    known = {entry["id"] for entry in coco[part]}
    for position, entry in enumerate(coco[of]):
        if entry[key] not in known:
            name = f"annotation {entry['id']}" if "id" in entry else f"{of}[{position}]"
            raise UserError(
                f"{path}: {name} has the {key} {one_line(json.dumps(entry[key]))}, which none of the {part} has; "
                "correct it, or remove the entry"
            )


def _check_box(path: Path, name: str, box: Any) -> None:
    if not (isinstance(box, list) and len(box) == 4 and all(map(is_number, box)) and min(box[2:]) >= 0):
        raise UserError(
            f"{path}: {name} has the bbox {one_line(json.dumps(box))}; "
            "it must be [x, y, width, height] in pixels, no side below 0"
        )


def _check_number(path: Path, name: str, key: str, value: Any) -> None:
    if not is_number(value):
        raise UserError(f"{path}: {name}: its '{key}' must be a number")
