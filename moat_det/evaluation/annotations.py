"""The user's own COCO JSON as ground truth, matched to the split by file name and to the classes by name."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from moat_det.data.formats.coco import read_coco
from moat_det.errors import UserError
from moat_det.evaluation.coco_entries import check_ground_truth, check_references
from moat_det.messages import some

logger = logging.getLogger(__name__)


def load_annotations(
    path: Path, image_paths: Sequence[Path], names: Mapping[int, str]
) -> tuple[dict[str, Any], dict[Path, int], dict[int, int]]:
    """Read a COCO JSON whose ids the evaluation shall use.

    The content stays as it is (`iscrowd`, `area`, ids), so that the numbers are those that pycocotools gives
    on the user's file. Only an `area` or `iscrowd` that is missing is added (w * h and 0), since pycocotools
    stops without. All images of the file are evaluated; a warning says so where the split lacks some of them.

    Args:
        path: The COCO JSON.
        image_paths: The images of the split. Each is matched to the entry whose `file_name` is the end of its
            path, or else has the same base name.
        names: Class index to name; categories are matched by name.

    Returns:
        The COCO dictionary, the image id of every path, and the category id of every class.

    Raises:
        UserError: The file cannot be read or is no COCO detection JSON, an image of the split or a class has no
            entry, or more than one, in it, or an annotation is of an image or a category that it has not.
    """
    coco = _read(path)
    image_ids = _match_images(path, coco["images"], image_paths)
    category_ids = _match_categories(path, coco["categories"], names)
    check_references(path, coco, "image_id", "images")
    check_references(path, coco, "category_id", "categories")
    _warn(path, coco, set(image_ids.values()), set(category_ids.values()))
    return coco, image_ids, category_ids


def _read(path: Path) -> dict[str, Any]:
    coco = read_coco(path, outlines=True)
    check_ground_truth(path, coco)
    for annotation in coco["annotations"]:
        annotation.setdefault("area", annotation["bbox"][2] * annotation["bbox"][3])
        annotation.setdefault("iscrowd", 0)
    return coco


def _match_images(path: Path, images: list[dict[str, Any]], image_paths: Sequence[Path]) -> dict[Path, int]:
    by_name: dict[str, list[tuple[tuple[str, ...], int]]] = defaultdict(list)
    for image in images:
        file_name = PurePosixPath(str(image["file_name"]).replace("\\", "/"))
        by_name[file_name.name].append((file_name.parts, image["id"]))

    matched: dict[Path, int] = {}
    owners: dict[int, Path] = {}
    unmatched: list[Path] = []
    for image_path in dict.fromkeys(image_paths):
        ranked = sorted((_agreement(image_path.parts, parts), image_id) for parts, image_id in by_name[image_path.name])
        if not ranked:
            unmatched.append(image_path)
            continue
        agreement, image_id = ranked[-1]
        if len(ranked) > 1 and ranked[-2][0] == agreement:
            raise UserError(
                f"{path}: several images fit {image_path} (ids {ranked[-2][1]} and {image_id}); "
                "give 'file_name' with its folder"
            )
        if image_id in owners:
            raise UserError(
                f"{path}: image id {image_id} fits both {owners[image_id]} and {image_path}; "
                "give 'file_name' with its folder"
            )
        matched[image_path], owners[image_id] = image_id, image_path
    if unmatched:
        raise UserError(
            f"{path}: {len(unmatched)} of the split's {len(matched) + len(unmatched)} images are not in it, "
            f"first {unmatched[0]}; give the JSON of this split, with the same file names"
        )
    return matched


def _agreement(path: tuple[str, ...], file_name: tuple[str, ...]) -> tuple[bool, int]:
    """Rank how well a JSON's file name fits a path: whether it is the path's end, how many parts agree."""
    common = 0
    for left, right in zip(reversed(path), reversed(file_name), strict=False):
        if left != right:
            break
        common += 1
    return common == len(file_name), common


def _match_categories(path: Path, categories: list[dict[str, Any]], names: Mapping[int, str]) -> dict[int, int]:
    wanted = {str(name) for name in names.values()}
    ids: dict[str, int] = {}
    for category in categories:
        name = str(category["name"])
        if name in ids and name in wanted:
            raise UserError(f"{path}: two categories are named '{name}' (ids {ids[name]} and {category['id']})")
        ids[name] = category["id"]
    missing = [str(name) for name in names.values() if str(name) not in ids]
    if missing:
        raise UserError(
            f"{path}: {len(missing)} of {len(names)} classes are not among its categories, "
            f"first '{missing[0]}'; it has {_listing(ids)}"
        )
    return {index: ids[str(name)] for index, name in names.items()}


def _listing(names: Iterable[str]) -> str:
    return some([f"'{name}'" for name in names], 8) or "none"


def _warn(path: Path, coco: dict[str, Any], image_ids: set[int], category_ids: set[int]) -> None:
    """Say what in the file lowers the numbers without being an error."""
    extra = [image["file_name"] for image in coco["images"] if image["id"] not in image_ids]
    if extra:
        logger.warning(
            "%s: %d of its images are not in the split, first %s; they count as images without detections",
            path,
            len(extra),
            extra[0],
        )
    annotated = {annotation["category_id"] for annotation in coco["annotations"]}
    foreign = [c["name"] for c in coco["categories"] if c["id"] in annotated - category_ids]
    if foreign:
        logger.warning("%s: the model does not know %s; their boxes count as missed", path, _listing(map(str, foreign)))
    if any(annotation["id"] == 0 for annotation in coco["annotations"]):
        logger.warning("%s: pycocotools never counts the annotation with id 0 as found; number from 1", path)
