"""The ground truth of a split as a COCO dictionary, made from the dataset's own labels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PIXEL_DECIMALS = 3
"""Boxes are written to a thousandth of a pixel, so that the rounding noise of relative labels does not
show."""


@dataclass(frozen=True)
class GroundTruthImage:
    """One image of the split with its labelled objects.

    Attributes:
        path: The image file.
        height: Height in original pixels.
        width: Width in original pixels.
        boxes: (N, 4) float, x1 y1 x2 y2 in original pixels.
        classes: (N,) int, keys of the dataset's `names`.
        ignored: (N,) bool, True for a region in which detections of its class count neither as right nor as wrong;
            None for objects only.
    """

    path: Path
    height: int
    width: int
    boxes: np.ndarray
    classes: np.ndarray
    ignored: np.ndarray | None = None


def number_images(paths: Iterable[Path]) -> dict[Path, int]:
    """Number the images 1..N in the order of the sorted file names; equal names go by their full path.

    A path that occurs twice counts once.
    """
    ordered = sorted(set(paths), key=lambda path: (path.name, str(path)))
    return {path: number for number, path in enumerate(ordered, start=1)}


def number_categories(names: Mapping[int, str]) -> dict[int, int]:
    """Give each class its category id: class + 1, since ids in COCO files start at 1."""
    return {index: index + 1 for index in names}


def coco_ground_truth(images: Sequence[GroundTruthImage], names: Mapping[int, str]) -> dict[str, Any]:
    """Turn labelled images into a COCO dictionary.

    Image ids are those of `number_images`, category ids those of `number_categories`, and annotation ids
    count from 1 in the order of the images. `file_name` is the bare name of the file; where two images share
    one, every `file_name` is the path relative to the images' common folder.

    Args:
        images: The images of the split, good parts (without boxes) among them, in any order.
        names: Class index to name.

    Returns:
        `info`, `images`, `annotations` and `categories` of the COCO detection format. Boxes are x y w h in
        pixels, rounded to 0.001; `area` is w * h; `iscrowd` is 1 for ignored regions.
    """
    by_path = {image.path: image for image in images}
    image_ids, category_ids = number_images(by_path), number_categories(names)
    file_names = _file_names(list(image_ids))
    annotations: list[dict[str, Any]] = []
    for path, image_id in image_ids.items():
        image = by_path[path]
        corners = np.asarray(image.boxes, dtype=np.float64).reshape(-1, 4)
        boxes = np.round(np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]]), PIXEL_DECIMALS).tolist()
        classes = np.asarray(image.classes, dtype=int).tolist()
        crowds = [0] * len(boxes) if image.ignored is None else image.ignored.astype(int).tolist()
        for box, index, crowd in zip(boxes, classes, crowds, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category_ids[index],
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": crowd,
                }
            )
    return {
        "info": {},
        "images": [
            {
                "id": image_id,
                "file_name": file_names[path],
                "width": int(by_path[path].width),
                "height": int(by_path[path].height),
            }
            for path, image_id in image_ids.items()
        ],
        "annotations": annotations,
        "categories": [{"id": category_ids[index], "name": str(name)} for index, name in sorted(names.items())],
    }


def _file_names(paths: Sequence[Path]) -> dict[Path, str]:
    """Name every image, uniquely within the split."""
    if len({path.name for path in paths}) == len(paths):
        return {path: path.name for path in paths}
    absolute = {path: os.path.abspath(path) for path in paths}
    root = os.path.commonpath([os.path.dirname(name) for name in absolute.values()])
    return {path: Path(os.path.relpath(name, root)).as_posix() for path, name in absolute.items()}
