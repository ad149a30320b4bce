"""Which annotation format each part of a split is in."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from moat_det.data.formats.coco import CocoSource
from moat_det.data.formats.records import Source
from moat_det.data.formats.voc import VocSource
from moat_det.data.formats.voc_files import XmlFolder, read_xml_folder
from moat_det.data.formats.yolo import YoloSource
from moat_det.data.formats.yolo_files import find_labels
from moat_det.data.images.find import find_split
from moat_det.errors import UserError

logger = logging.getLogger(__name__)


def find_sources(
    paths: str | Path | Sequence[str | Path],
    names: Mapping[int, str] | None,
    image_roots: Mapping[str, str] | None = None,
    root: str | None = None,
    keypoints: int = 0,
    entries: Sequence[str] = (),
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
        entries: What all splits of the dataset name, absolute: images that one does not name may be those of another.

    Raises:
        UserError: A path does not exist or holds no image.
    """
    roots = image_roots or {}
    given = [paths] if isinstance(paths, (str, Path)) else paths
    sources: list[Source] = []
    voc: dict[str | None, list[XmlFolder]] = defaultdict(list)
    yolo: list[str | Path] = []
    for path in given:
        image_root = roots.get(str(path))
        place = os.path.abspath(path)
        if _is_json(place):
            if not os.path.isfile(place):
                raise UserError(f"{place}: no such COCO JSON; correct the path in the dataset YAML")
            jsons = [file for file in entries if _is_json(file) and file != place]
            others = [CocoSource(file, None, roots.get(file)) for file in jsons]
            sources.append(CocoSource(place, names, image_root, others))
        elif (folder := read_xml_folder(place, image_root)) is not None and not _has_yolo_labels(folder):
            voc[image_root].append(folder)
        else:
            yolo.append(path)
    for image_root, folders in voc.items():
        own = {folder.place for folder in folders}
        rest = [path for path in dict.fromkeys([*map(str, given), *entries]) if os.path.abspath(path) not in own]
        siblings = _find_siblings({image for folder in folders for image in folder.all_images}, rest, roots, root)
        sources.append(VocSource(folders, names, image_root, siblings))
    if yolo:
        found = find_split(yolo, root)
        images, unused = sorted(set(found.images)), sorted({*found.videos, *found.others, *found.folders})
        sources.append(YoloSource(images, None if names is None else len(names), keypoints, unused))
    return sources


def _is_json(path: str) -> bool:
    return path.lower().endswith(".json")


def _has_yolo_labels(folder: XmlFolder) -> bool:
    if not any(find_labels(folder.images).values()):
        return False
    count = len(folder.files)
    logger.info(f"{folder.place}: has both YOLO labels and {count} XML files; the YOLO labels are used")
    return True


def _find_siblings(
    images: set[str], paths: Sequence[str], image_roots: Mapping[str, str], root: str | None
) -> list[Source]:
    """Give the other parts of a dataset that may name some of the images."""
    siblings: list[Source] = []
    for path in paths if images else ():
        with suppress(UserError):  # it is told where that part is read
            siblings += find_sources(path, None, image_roots, root)
    return [part for part in siblings if isinstance(part, CocoSource) or not images.isdisjoint(part.listing())]
