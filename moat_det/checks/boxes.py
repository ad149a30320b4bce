"""Faults of the boxes of one image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from moat_det.checks.faults import Fault
from moat_det.checks.samples import Sample
from moat_det.data.formats.annotation import EDGE_PIXELS, SMALLEST_SIDE_PIXELS

SMALLEST_SIDE = 2.0
"""Pixels: a box with a shorter side is hardly an object."""
LARGEST_ASPECT = 20.0
"""A box longer than so many times its width is worth a look."""
# Intersection over union from which two boxes are one.
_SAME_BOX = 0.95


def box_faults(sample: Sample) -> Iterator[Fault]:
    """Tell what is wrong with the boxes of a sample; nothing where its image could not be read."""
    facts = sample.readable
    if facts is None:
        return
    rows, declared = sample.annotation.rows, sample.annotation.declared
    if declared is not None and declared != (facts.height, facts.width):
        height, width = declared
        detail = f"{width} x {height} instead of {facts.width} x {facts.height}"
        if facts.turned and (width, height) == (facts.height, facts.width):
            detail += ", its size before EXIF turns it: its boxes may be those of the picture that is not turned"
        yield Fault("wrong_size", sample.split, sample.labels or sample.image, detail, image=sample.image)
    if not rows:
        return
    boxes = sample.boxes
    inside = np.clip(boxes, 0, [facts.width, facts.height] * 2)
    sides = inside[:, 2:] - inside[:, :2]
    has_area = (sides >= SMALLEST_SIDE_PIXELS).all(axis=1)
    passed = np.abs(inside - boxes).max(axis=1)
    classes = np.array([row.cls for row in rows])
    ignored = np.array([row.ignored for row in rows])
    table = np.column_stack([classes, inside.round(3), ignored])
    first = set(np.unique(table, axis=0, return_index=True)[1].tolist())

    def fault(kind: str, index: int, detail: str) -> Fault:
        where = f"{rows[index].place}: {detail}"
        return Fault(kind, sample.split, sample.labels or "", where, sample.image, (tuple(boxes[index].tolist()),))

    for index, (width, height) in enumerate(sides.tolist()):
        if not has_area[index]:
            yield fault("box_without_area", index, _describe(boxes[index]))
            continue
        if index not in first:
            yield fault("duplicate_box", index, _describe(boxes[index]))
            continue
        if passed[index] > EDGE_PIXELS:
            yield fault("box_past_edge", index, f"by {passed[index]:.1f} px")
        if ignored[index]:
            continue
        short, long = sorted((width, height))
        if short < SMALLEST_SIDE:
            yield fault("tiny_box", index, f"{width:.1f} x {height:.1f} px")
        elif long > LARGEST_ASPECT * short:
            yield fault("long_box", index, f"{width:.1f} x {height:.1f} px")
    usable = np.flatnonzero(has_area & ~ignored)
    for i, j in _same_boxes(inside[usable]):
        a, b = usable[i], usable[j]
        if classes[a] != classes[b]:
            detail = f"as class {classes[b]}, and as {classes[a]} in {rows[a].place}"
            yield fault("box_of_two_classes", int(b), detail)


def _same_boxes(boxes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs of boxes that are the same but for rounding; row by row, as an image may have thousands."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    for i in range(len(boxes) - 1):
        low = np.maximum(boxes[i, :2], boxes[i + 1 :, :2])
        high = np.minimum(boxes[i, 2:], boxes[i + 1 :, 2:])
        common = np.clip(high - low, 0, None).prod(axis=1)
        same = common >= _SAME_BOX * (areas[i] + areas[i + 1 :] - common)
        yield from ((i, i + 1 + int(offset)) for offset in np.flatnonzero(same))


def _describe(box: np.ndarray) -> str:
    return "from ({:.1f}, {:.1f}) to ({:.1f}, {:.1f}) px".format(*box)
