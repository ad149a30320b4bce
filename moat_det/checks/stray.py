"""Files that belong to no sample: labels without image, texts among the labels, images that a JSON does not list."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from moat_det.checks.faults import Fault
from moat_det.checks.samples import Sample
from moat_det.data.formats.faults import AnnotationError
from moat_det.data.formats.yolo import label_places, parse_row, read_lines
from moat_det.data.images.find import is_image, walk
from moat_det.data.images.suffixes import ARRAY_SUFFIX


def stray_labels(samples: Sequence[Sample]) -> Iterator[Fault]:
    """Tell the text files in the folders of YOLO labels that are those of no image."""
    folders: dict[str, str] = {}
    for sample in samples:
        if sample.annotation.in_shares:
            places = label_places(sample.image)
            folders.setdefault(os.path.dirname(places[0]), sample.split)
            if sample.labels == places[-1]:
                folders.setdefault(os.path.dirname(sample.image), sample.split)
    stems = cache(_stems)
    used = {sample.labels for sample in samples}
    seen: set[str] = set()
    for folder, split in folders.items():
        for file in sorted(walk(folder)):
            if not file.lower().endswith(".txt") or file in used or file in seen:
                continue
            seen.add(file)
            place, stem = os.path.dirname(file), os.path.splitext(os.path.basename(file))[0]
            if stem in stems(place) or stem in stems(_image_folder(place)):
                continue  # the label of an image that no split names
            is_label = _is_label(file)
            yield Fault("label_without_image" if is_label else "text_beside_labels", split, file)


def unlisted_images(samples: Sequence[Sample], roots: Mapping[str, str]) -> Iterator[Fault]:
    """Tell the images in the image folders of COCO JSONs that no split lists."""
    listed = {sample.image for sample in samples}
    splits = {sample.labels: sample.split for sample in samples}
    seen: set[str] = set()
    for file, root in roots.items():
        for image in sorted(walk(root)) if root else []:
            if is_image(image) and image not in listed and image not in seen:
                seen.add(image)
                yield Fault("image_not_listed", splits.get(file, ""), image, f"not in {file}")


def _image_folder(folder: str) -> str:
    """Give the folder of the images whose labels lie in `folder`."""
    before, middle, after = f"{folder}{os.sep}".rpartition(f"{os.sep}labels{os.sep}")
    return os.path.normpath(f"{before}{os.sep}images{os.sep}{after}") if middle else folder


def _stems(folder: str) -> set[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return set()
    return {os.path.splitext(name)[0] for name in names if is_image(name) or name.lower().endswith(ARRAY_SUFFIX)}


def _is_label(file: str) -> bool:
    """Whether a text is empty or has a line that is a box."""
    try:
        lines = [line.split() for line in read_lines(file) if line.strip()]
    except AnnotationError:
        return False
    for columns in lines:
        try:
            parse_row(columns, "", None)
        except AnnotationError:
            continue
        return True
    return not lines
