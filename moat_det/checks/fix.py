"""A corrected copy of a dataset; the source stays as it is.

What is no box is left out, what passes the edge is clipped, an image is copied as it is or left out whole.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from moat_det.checks.duplicates import same_labels, same_pictures
from moat_det.checks.faults import in_one_line
from moat_det.checks.report import printable
from moat_det.checks.run import Check
from moat_det.checks.samples import Sample
from moat_det.data.config import kept_keys
from moat_det.data.convert import write_dataset
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.errors import UserError

# What a copy by `cleaned` boxes mends, and how.
_MENDED = {
    "split_unusable": "split left out",
    "malformed_label": "label left out",
    "unknown_class": "label left out",
    "absent_category": "annotation left out",
    "absent_image": "annotation left out",
    "box_without_area": "box left out",
    "duplicate_box": "box left out",
    "box_past_edge": "box clipped",
    "polygon": "the box around it written",
    "repeated_id": "new ids given",
    "annotated_twice": "the first one taken",
    "wrong_size": "the image's own size written",
    "shared_label_file": "COCO written, which tells them apart",
    "image_missing": "not listed any more",
    "image_not_listed": "not copied",
    "label_without_image": "not copied",
    "text_beside_labels": "not copied",
    "unused_files": "not copied",
}


def write_fixed(check: Check, out: Path) -> list[str]:
    """Write a corrected copy, in YOLO format, or as COCO JSON where that holds what YOLO cannot.

    Of pictures that are there twice to the pixel, with the same labels, one stays: that of validation or test, and the
    one of train is left out, since measured data that shrinks would not compare with what was measured before; within a
    split the first by path. Images none of whose labels is in order are left out: without boxes they would train as
    good parts. A 'test' that cannot be read, such as one that is not on this machine, is left out too; no dataset goes
    without the other splits. COCO is written where there are crowd regions or two images with one stem.

    Args:
        check: What was found.
        out: The folder to make, absolute.

    Returns:
        What was changed, a line each; `changes.txt` in `out` has them too.

    Raises:
        UserError: `out` holds something, lies within the images or cannot be written; or `train` or `val` cannot be
            read, or a split would be left empty.
    """
    left_out = _left_out(check)
    changes = [in_one_line(f"{split}: {image}: left out, {reason}") for (split, image), reason in left_out.items()]
    changes += [f"{f.split}: {f.place}: {_MENDED[f.kind]}" for f in check.faults if f.kind in _MENDED]
    keys = kept_keys(check.data)
    if "mixed_sample_types" in check.by_kind() and keys.get("intensity", "auto") == "auto":  # the user's own stays
        keys["intensity"] = "image"
        changes.append(f"{check.data['yaml_file']}: 'intensity: image' written, a range for each image")
    unusable = {fault.split: fault for fault in check.faults if fault.kind == "split_unusable"}
    for split, fault in unusable.items():
        if split != "test":
            raise UserError(f"{check.data['yaml_file']}: '{split}' cannot be read: {fault.place}")
    splits = {
        split: [image for s in samples if (split, s.image) not in left_out and (image := s.labelled)]
        for split, samples in check.samples.items()
        if split not in unusable
    }
    for split, images in splits.items():
        if not images:
            raise UserError(f"{check.data['yaml_file']}: nothing would be left of '{split}'; correct its data by hand")
    crowds = any(image.ignored.any() for images in splits.values() for image in images)
    target = "coco" if crowds or any(map(_share_stems, splits.values())) else "yolo"
    text = printable("".join(f"{line}\n" for line in changes)) or "nothing\n"
    write_dataset(out, target, check.data["names"], splits, keys, {"changes.txt": text})
    return changes


def _left_out(check: Check) -> dict[tuple[str, str], str]:
    """Give the images that are not copied, by split and path, and why."""
    reasons: dict[tuple[str, str], str] = {}
    kept = []
    order = sorted(check.samples, key=lambda split: split == "train")
    for sample in (sample for split in order for sample in check.samples[split]):
        image = sample.labelled
        if image is None:
            reasons[sample.split, sample.image] = "it cannot be decoded"
        elif sample.annotation.total and not len(image.classes):
            reasons[sample.split, sample.image] = "none of its labels is in order"
        else:
            kept.append(sample)
    for group in same_pictures(kept):
        staying: list[Sample] = []
        for sample in group:
            same = next((other for other in staying if same_labels(other, sample)), None)
            if same is None:
                staying.append(sample)  # where labels differ, a person has to say which are right
            else:
                reasons[sample.split, sample.image] = f"the same picture as {same.image} of {same.split}"
    return reasons


def _share_stems(images: list[LabelledImage]) -> bool:
    stems = Counter(os.path.splitext(image.path)[0] for image in images)
    return max(stems.values()) > 1
