"""The short form of the check: what the indices of a training tell at once, without decoding an image."""

from __future__ import annotations

import filecmp
import math
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import combinations

import numpy as np

from moat_det.checks.balance import class_faults
from moat_det.checks.boxes import LARGEST_ASPECT, SMALLEST_SIDE
from moat_det.checks.faults import KINDS
from moat_det.data.index import SplitIndex
from moat_det.data.sizes.shape import Shape
from moat_det.messages import some

_FEW_LABELLED = 0.1
_SHOWN = 3
_MOST_LINES = 8
_MOST_COMPARED = 36


def quick_check(indices: Mapping[str, SplitIndex], names: Mapping[int, str], shape: Shape) -> list[str]:
    """Tell what is suspicious about a dataset, in a few lines.

    Args:
        indices: By split.
        names: Class id to name.
        shape: Height and width in pixels that an image is scaled to fit into.

    Returns:
        A line for each thing, the worst first, at most eight; the last one names the full check. Empty where nothing is
        found.
    """
    lines = [
        *_class_lines(indices, names),
        *_shared_lines(indices),
        *_label_lines(indices),
        *_box_lines(indices, shape),
    ][: _MOST_LINES - 1]
    if lines:
        lines.append("moat check --data ... looks at all of it, images too, and shows pictures")
    return lines


def _box_lines(indices: Mapping[str, SplitIndex], shape: Shape) -> Iterator[str]:
    tiny = long = 0
    for index in indices.values():
        boxes = index.boxes[~index.ignored]
        sides = boxes[:, 2:] - boxes[:, :2]
        scales = np.repeat(np.min(shape / index.shapes, axis=1), np.diff(index.starts))[~index.ignored]
        short, longer = sides.min(axis=1), sides.max(axis=1)
        tiny += int((short * scales < SMALLEST_SIDE).sum())
        long += int((longer > LARGEST_ASPECT * short).sum())
    if tiny:
        size = f"{shape[0]} x {shape[1]}"
        yield f"{tiny} boxes have a side under {SMALLEST_SIDE:g} px at {size}: train larger, or look at them"
    if long:
        yield f"{long} boxes are longer than {LARGEST_ASPECT:g} times their width"


def _class_lines(indices: Mapping[str, SplitIndex], names: Mapping[int, str]) -> Iterator[str]:
    counts = {
        split: np.bincount(index.classes[~index.ignored], minlength=len(names)) for split, index in indices.items()
    }
    details: dict[str, list[str]] = defaultdict(list)
    for fault in class_faults(counts, names, ""):
        details[fault.kind].append(fault.detail)
    for kind in ("class_absent_from_train", "class_without_box", "class_imbalance"):
        if found := details.get(kind):
            yield f"{KINDS[kind].title}: {some(found, _SHOWN, '; ')}"


def _shared_lines(indices: Mapping[str, SplitIndex]) -> Iterator[str]:
    """Files of one name in two splits are one picture where they hold the same bytes."""
    places: dict[str, dict[str, str]] = defaultdict(dict)
    for split, index in indices.items():
        for path in index.paths:
            places[os.path.basename(path)].setdefault(split, path)
    pairs = [pair for found in places.values() for pair in combinations(found.values(), 2) if _same_size(*pair)]
    # Uncompressed files of one camera all have one size: some are read, from all over the splits.
    compared = pairs[:: math.ceil(len(pairs) / _MOST_COMPARED) or 1]
    shared = list(dict.fromkeys(os.path.basename(one) for one, other in compared if _same_bytes(one, other)))
    if shared:
        number = f"{len(shared)} images" if compared == pairs else f"{len(shared)} of {len(compared)} images compared"
        reason = "are in two splits (same name and bytes), so AP comes out too good"
        yield f"{number} {reason}: {some(shared, _SHOWN, '; ')}"


def _same_size(one: str, other: str) -> bool:
    with suppress(OSError):
        return os.path.getsize(one) == os.path.getsize(other)
    return False


def _same_bytes(one: str, other: str) -> bool:
    with suppress(OSError):
        return filecmp.cmp(one, other, shallow=False)
    return False


def _label_lines(indices: Mapping[str, SplitIndex]) -> Iterator[str]:
    for split, index in indices.items():
        report = index.report
        if report.labelled < _FEW_LABELLED * report.images:
            share = report.backgrounds / report.images
            yield f"{share:.0%} of the images of {split} have no box: good parts, or labels that are missing"
