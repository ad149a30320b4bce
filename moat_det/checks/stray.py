"""Files that belong to no sample: labels without image, texts among the labels, images that no annotation lists."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from moat_det.checks.faults import Fault
from moat_det.checks.samples import Sample
from moat_det.data.formats.faults import AnnotationError
from moat_det.data.formats.yolo import parse_row, read_lines
from moat_det.data.formats.yolo_files import unused_texts
from moat_det.data.images.find import count_suffixes
from moat_det.data.index.listed import unlisted_images


def stray_labels(samples: Sequence[Sample]) -> Iterator[Fault]:
    """Tell the text files in the folders of YOLO labels that are those of no image."""
    yolo = {sample.image: sample for sample in samples if sample.annotation.in_shares}
    for file, image in unused_texts({name: sample.labels for name, sample in yolo.items()}):
        yield Fault("label_without_image" if _is_label(file) else "text_beside_labels", yolo[image].split, file)


def unused_files(files: Sequence[str], split: str) -> Iterator[Fault]:
    """Tell, by kind, the files in the folders of a split that are neither images nor texts, which `stray_labels` tells.

    Args:
        files: Of the split's sources, absolute.
        split: The split.
    """
    kinds: dict[str, list[str]] = defaultdict(list)
    for file in files:
        kinds[os.path.splitext(file)[1].lower()].append(file)
    kinds.pop(".txt", None)
    for members in kinds.values():
        yield Fault("unused_files", split, members[0], f"one of {count_suffixes(members)}")


def images_not_listed(
    samples: Sequence[Sample], roots: Mapping[str, str], unnamed: Mapping[str, str]
) -> Iterator[Fault]:
    """Tell the images in the image folders of COCO JSONs and of XML files that no split lists.

    Args:
        samples: Of all splits.
        roots: The folder of the images by JSON.
        unnamed: The split in whose folders the images lie that no XML file names and that are left out, by image.
    """
    listed = {sample.image for sample in samples}
    for image, split in unnamed.items():
        if image not in listed:
            listed.add(image)
            yield Fault("image_not_listed", split, image, "no XML file names it, nor is its folder that of one split")
    splits = {sample.labels: sample.split for sample in samples}
    for file, root in roots.items():
        for image in unlisted_images([root], listed) if root else ():
            listed.add(image)
            yield Fault("image_not_listed", splits.get(file, ""), image, f"not in {file}")


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
