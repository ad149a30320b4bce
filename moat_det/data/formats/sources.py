"""Which annotation format each part of a split is in."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from moat_det.data.formats.coco import CocoSource
from moat_det.data.formats.records import Source
from moat_det.data.formats.voc import VocSource
from moat_det.data.formats.yolo import YoloSource
from moat_det.data.formats.yolo_files import find_labels
from moat_det.data.images.find import find_split, is_image, walk
from moat_det.errors import UserError

logger = logging.getLogger(__name__)


def find_sources(
    paths: str | Path | Sequence[str | Path],
    names: Mapping[int, str] | None,
    image_roots: Mapping[str, str] | None = None,
    root: str | None = None,
    keypoints: int = 0,
    jsons: Sequence[str] = (),
) -> list[Source]:
    """Tell the format of each part of a split.

    A file that ends in `.json` is COCO. A folder with XML files in it is VOC, unless its images have YOLO labels too,
    which then count. Everything else is YOLO: folders of images, lists of images.

    Args:
        paths: What a split of a dataset YAML names.
        names: Class id to name; None where classes do not matter.
        image_roots: The folder with the images, by path, for COCO and VOC; where there is none it is looked for.
        root: The dataset's folder, which lists of images may be relative to.
        keypoints: Numbers that may follow the box in a row of a YOLO label.
        jsons: The COCO JSONs of all splits of the dataset, absolute.

    Raises:
        UserError: A path does not exist or holds no image.
    """
    sources: list[Source] = []
    yolo: list[str | Path] = []
    for path in [paths] if isinstance(paths, (str, Path)) else paths:
        image_root = (image_roots or {}).get(str(path))
        place = os.path.abspath(path)
        if place.lower().endswith(".json"):
            if not os.path.isfile(place):
                raise UserError(f"{place}: no such COCO JSON; correct the path in the dataset YAML")
            siblings = [CocoSource(file, None, (image_roots or {}).get(file)) for file in jsons if file != place]
            sources.append(CocoSource(place, names, image_root, siblings))
        elif (voc := _find_voc(place, names, image_root)) is not None:
            sources.append(voc)
        else:
            yolo.append(path)
    if yolo:
        found = find_split(yolo, root)
        images, others = sorted(set(found.images)), sorted({*found.videos, *found.others, *found.folders})
        sources.append(YoloSource(images, None if names is None else len(names), keypoints, others))
    return sources


def _find_voc(folder: str, names: Mapping[int, str] | None, image_root: str | None) -> VocSource | None:
    if not os.path.isdir(folder):
        return None
    files = sorted(walk(folder))
    annotations = [file for file in files if file.lower().endswith(".xml")]
    if not annotations:
        return None
    images = [file for file in files if is_image(file)]
    if any(find_labels(images).values()):
        logger.info(f"{folder}: has both YOLO labels and {len(annotations)} XML files; the YOLO labels are used")
        return None
    others = [file for file in files if not is_image(file) and not file.lower().endswith(".xml")]
    return VocSource(annotations, [] if image_root else images, names, image_root, others)
