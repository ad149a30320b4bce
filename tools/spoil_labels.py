"""Copy a dataset and make some of its labels wrong, to measure what `moat check-labels` finds of them.

A label is removed, moved so that it overlaps its old place by less than half, or given another class. What was done
stands in `spoilt.json` of the copy, with each image's path below its folder `images`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moat_det.data.config import SPLITS, kept_keys, load_dataset, reading, split_paths
from moat_det.data.convert import name_files, write_dataset
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.data.index import open_index
from moat_det.errors import UserError
from tools.command import command, make_parser

KINDS = ("removed", "moved", "swapped")
_TRIES = 50  # for a place that a box can be moved to
_MOST_OVERLAP = 0.45  # IoU of a moved box with its old place


def spoil(
    images: Sequence[LabelledImage], share: float, classes: int, random: np.random.Generator
) -> tuple[list[LabelledImage], list[dict[str, Any]]]:
    """Make a share of the labels wrong, each in one of `KINDS` by chance.

    Args:
        images: Stay as they are.
        share: Of the labels, in [0, 1].
        classes: How many there are; where it is one, none is swapped.
        random: Says which and how.

    Returns:
        The images with the new labels, and for each label that is wrong now its image's `path`, `kind`, `class` and
        `bbox` (x y w h in pixels), and `new_class` and `new_bbox` where it was not removed. A box that fills its
        image cannot be moved, and is removed.
    """
    owners = [(i, k) for i, image in enumerate(images) for k in range(len(image.classes)) if not image.ignored[k]]
    chosen = random.permutation(len(owners))[: round(share * len(owners))].tolist()
    kinds = KINDS if classes > 1 else KINDS[:2]
    changes: dict[int, dict[int, tuple[int, np.ndarray] | None]] = {}
    log = []
    for i, k in sorted(owners[index] for index in chosen):
        image, kind = images[i], str(random.choice(kinds))
        old, cls = image.boxes[k], int(image.classes[k])
        new, new_cls = old, cls
        if kind == "moved":
            place = _moved(old, image.height, image.width, random)
            new, kind = (old, "removed") if place is None else (place, kind)
        elif kind == "swapped":
            new_cls = int(random.choice([other for other in range(classes) if other != cls]))
        entry: dict[str, Any] = {
            "path": image.path,
            "kind": kind,
            "class": cls,
            "bbox": _xywh(old),
        }
        changes.setdefault(i, {})[k] = None if kind == "removed" else (new_cls, new)
        log.append(entry if kind == "removed" else {**entry, "new_class": new_cls, "new_bbox": _xywh(new)})
    return [_changed(image, changes.get(i, {})) for i, image in enumerate(images)], log


def _moved(box: np.ndarray, height: int, width: int, random: np.random.Generator) -> np.ndarray | None:
    size = box[2:] - box[:2]
    room = np.array([width, height]) - size
    for _ in range(_TRIES):
        corner = np.clip(box[:2] + random.uniform(-1, 1, 2) * size, 0, room)
        shared = np.prod(np.clip(size - np.abs(corner - box[:2]), 0, None))
        if shared / (2 * np.prod(size) - shared) < _MOST_OVERLAP:
            return np.concatenate([corner, corner + size])
    return None


def _xywh(box: np.ndarray) -> list[float]:
    return np.round([*box[:2], *(box[2:] - box[:2])], 3).tolist()


def _changed(image: LabelledImage, changes: dict[int, tuple[int, np.ndarray] | None]) -> LabelledImage:
    if not changes:
        return image
    kept = [k for k in range(len(image.classes)) if changes.get(k, ()) is not None]
    news = [changes.get(k) or (int(image.classes[k]), image.boxes[k]) for k in kept]
    return LabelledImage(
        path=image.path,
        height=image.height,
        width=image.width,
        classes=np.array([cls for cls, _ in news], dtype=np.int64),
        boxes=np.array([box for _, box in news], dtype=np.float64).reshape(-1, 4),
        ignored=image.ignored[kept],
    )


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--data", required=True, help="dataset YAML")
    parser.add_argument("--out", required=True, type=Path, help="folder to make, a YOLO dataset")
    parser.add_argument("--share", type=float, default=0.05, help="of the labels that become wrong")
    parser.add_argument("--seed", type=int, default=0, help="another seed spoils others")
    arguments = parser.parse_args(argv)
    if not 0 <= arguments.share <= 1 or arguments.seed < 0:
        raise UserError("--share must be in [0, 1] and --seed 0 or more")
    data = load_dataset(arguments.data)
    random = np.random.default_rng(arguments.seed)
    splits: dict[str, list[LabelledImage]] = {}
    log: list[dict[str, Any]] = []
    for split in SPLITS:
        if paths := split_paths(data, split):
            images = list(open_index(paths, data["names"], **reading(data)).images())
            splits[split], changes = spoil(images, arguments.share, len(data["names"]), random)
            names = {image.path: name for image, name in zip(images, name_files(images), strict=True)}
            log += [{"file_name": f"{split}/{names[change.pop('path')]}", **change} for change in changes]
    write_dataset(
        arguments.out.resolve(),
        "yolo",
        data["names"],
        splits,
        kept_keys(data),
        {"spoilt.json": json.dumps(log, indent=1)},
    )
    print(f"{arguments.out / 'data.yaml'}: {len(log)} labels are wrong now")
    return 0


if __name__ == "__main__":
    sys.exit(main())
