"""The ground truth of a split as a COCO dictionary, made from the dataset's own labels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from moat_det.data.formats.coco import coco_dictionary
from moat_det.data.formats.labelled_image import LabelledImage

PIXEL_DECIMALS = 3
"""Boxes are written to a thousandth of a pixel, so that the rounding noise of relative labels does not
show."""


def written_corners(corners: ArrayLike) -> np.ndarray:
    """Give the corners (N, 4) x1 y1 x2 y2 of boxes as files have them, float64."""
    return np.round(np.asarray(corners, dtype=np.float64).reshape(-1, 4), PIXEL_DECIMALS)


def written_boxes(corners: ArrayLike) -> np.ndarray:
    """Give boxes (N, 4) x y w h as files have them, from their corners (N, 4).

    Sides are those between the written corners, in every file: an IoU may lie so near a limit that 0.001 px decides.
    """
    rounded = written_corners(corners)
    return np.round(np.hstack([rounded[:, :2], rounded[:, 2:] - rounded[:, :2]]), PIXEL_DECIMALS)


def number_images(paths: Iterable[Path]) -> dict[Path, int]:
    """Count the images 1..N in the order of the sorted file names; equal names go by their full path.

    A path that occurs twice counts once.
    """
    ordered = sorted(set(paths), key=lambda path: (path.name, str(path)))
    return {path: number for number, path in enumerate(ordered, start=1)}


def number_categories(names: Mapping[int, str]) -> dict[int, int]:
    """Give each class its category id: class + 1, as `coco_dictionary` numbers them."""
    return {index: index + 1 for index in names}


def coco_ground_truth(images: Sequence[LabelledImage], names: Mapping[int, str]) -> dict[str, Any]:
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
    by_path = {Path(image.path): image for image in images}
    paths = list(number_images(by_path))
    return coco_dictionary([by_path[path] for path in paths], name_images(paths), names, PIXEL_DECIMALS)


def name_images(paths: Sequence[Path]) -> list[str]:
    """Name every image uniquely within the split, as `coco_ground_truth` says."""
    if len({path.name for path in paths}) == len(paths):
        return [path.name for path in paths]
    absolute = [os.path.abspath(path) for path in paths]
    root = os.path.commonpath([os.path.dirname(path) for path in absolute])
    return [Path(os.path.relpath(path, root)).as_posix() for path in absolute]
