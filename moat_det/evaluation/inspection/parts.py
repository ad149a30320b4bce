"""Parts: what a line passes or rejects as one thing, with the score that decides and the truth about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from moat_det.data.groups import group_of


@dataclass(frozen=True)
class Parts:
    """The parts of a split, in the order of their first image.

    Attributes:
        names: (N) what the images of each part share: the group, or the image's file name.
        scores: (N,) the highest score of any detection, wherever it lies; 0 where there is none.
        defective: (N,) whether it has a label that is not ignored; else it is good.
        of_image: Image id to the position of its part, for every image of the ground truth, in its order.
    """

    names: tuple[str, ...]
    scores: np.ndarray
    defective: np.ndarray
    of_image: Mapping[int, int]

    def __len__(self) -> int:
        """Count the parts."""
        return len(self.names)

    @property
    def image_counts(self) -> np.ndarray:
        """(N,) how many images each part has."""
        return np.bincount(list(self.of_image.values()), minlength=len(self))


def read_parts(
    ground_truth: Mapping[str, Any],
    predictions: Iterable[Mapping[str, Any]],
    group: str | None = None,
    category_id: int | None = None,
) -> Parts:
    """Gather the images of a validation into parts.

    Args:
        ground_truth: The COCO dictionary that a validation writes.
        predictions: Its detections, in COCO's results format; those of images that the ground truth lacks are left out.
        group: A regular expression that is searched in the name of each file, without folders: images for which its
            first group, or else the whole match, is the same are one part. None: every image is a part.
        category_id: Look at this class alone: at its detections and its labels. None: at all.

    Raises:
        UserError: `group` is no regular expression, or does not match a name.
    """
    of_image: dict[int, int] = {}
    positions: dict[str | int, int] = {}
    names: list[str] = []
    for image in ground_truth["images"]:
        file_name = str(image["file_name"])
        name = file_name if group is None else group_of(PurePosixPath(file_name.replace("\\", "/")).name, group)
        position = positions.setdefault(image["id"] if group is None else name, len(positions))
        if position == len(names):
            names.append(name)
        of_image[image["id"]] = position
    scores, defective = np.zeros(len(names)), np.zeros(len(names), dtype=bool)
    for annotation in ground_truth["annotations"]:
        counts = category_id in (None, annotation["category_id"]) and not annotation.get("iscrowd")
        if counts and annotation["image_id"] in of_image:
            defective[of_image[annotation["image_id"]]] = True
    for found in predictions:
        if category_id in (None, found["category_id"]) and found["image_id"] in of_image:
            position = of_image[found["image_id"]]
            scores[position] = max(scores[position], found["score"])
    return Parts(tuple(names), scores, defective, of_image)
