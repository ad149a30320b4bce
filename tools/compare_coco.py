"""The twelve COCO numbers of our evaluation beside those of pycocotools, in the cases where they could differ."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.cocoeval import COCOeval

from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.evaluation import STATS
from moat_det.evaluation.make_evaluator import make_evaluator
from moat_det.evaluation.matching import coco_of
from tools.command import command, make_parser

NAMES = {0: "scratch", 1: "pit", 2: "stain"}
_IMAGES = 12

Found = tuple[np.ndarray, np.ndarray, np.ndarray]
Case = Callable[[list[LabelledImage], list[Found], np.random.Generator], tuple[list[LabelledImage], list[Found]]]


def draw_images(rng: np.random.Generator) -> list[LabelledImage]:
    """Draw images with up to five boxes of all of COCO's sizes."""
    images = []
    for number in range(_IMAGES):
        count = int(rng.integers(1, 6))
        corner, size = rng.uniform(0, 300, (count, 2)), rng.uniform(8, 200, (count, 2))
        classes, boxes = rng.integers(0, len(NAMES), count), np.hstack([corner, corner + size])
        images.append(LabelledImage(f"/data/{number:03d}.png", 512, 640, classes, boxes))
    return images


def draw_found(image: LabelledImage, rng: np.random.Generator) -> Found:
    """Draw detections around the boxes of an image, some of a wrong class, and on its background."""
    near = np.repeat(image.boxes, 3, axis=0) + rng.normal(0, 6, (3 * len(image.boxes), 4))
    classes = np.where(rng.random(len(near)) < 0.2, rng.integers(0, len(NAMES), len(near)), np.repeat(image.classes, 3))
    corner = rng.uniform(0, 400, (20, 2))
    far = np.hstack([corner, corner + rng.uniform(5, 120, (20, 2))])
    boxes = np.vstack([near, far])
    return boxes, rng.random(len(boxes)), np.concatenate([classes, rng.integers(0, len(NAMES), 20)])


def _usual(images: list[LabelledImage], found: list[Found], _: Any) -> tuple[list[LabelledImage], list[Found]]:
    return images, found


def _crowd(images: list[LabelledImage], found: list[Found], rng: Any) -> tuple[list[LabelledImage], list[Found]]:
    return [replace(image, ignored=rng.random(len(image.classes)) < 0.3) for image in images], found


def _empty(images: list[LabelledImage], found: list[Found], _: Any) -> tuple[list[LabelledImage], list[Found]]:
    return [_chosen(image, np.full(len(image.classes), n % 3 == 0)) for n, image in enumerate(images)], found


def _absent(images: list[LabelledImage], found: list[Found], _: Any) -> tuple[list[LabelledImage], list[Found]]:
    return [_chosen(image, image.classes != 1) for image in images], found


def _nothing(images: list[LabelledImage], found: list[Found], _: Any) -> tuple[list[LabelledImage], list[Found]]:
    return images, [(np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=int)) for _ in found]


def _no_boxes(images: list[LabelledImage], found: list[Found], _: Any) -> tuple[list[LabelledImage], list[Found]]:
    return [_chosen(image, np.zeros(len(image.classes), dtype=bool)) for image in images], found


def _ties(images: list[LabelledImage], found: list[Found], _: Any) -> tuple[list[LabelledImage], list[Found]]:
    return images, [(boxes, scores.round(1), classes) for boxes, scores, classes in found]


def _flat(images: list[LabelledImage], found: list[Found], _: Any) -> tuple[list[LabelledImage], list[Found]]:
    flat = [replace(image, boxes=np.hstack([image.boxes[:, :3], image.boxes[:, 1:2]])) for image in images[::4]]
    return [*flat, *[image for n, image in enumerate(images) if n % 4]], [
        *found[::4],
        *[each for n, each in enumerate(found) if n % 4],
    ]


def _many(images: list[LabelledImage], found: list[Found], rng: Any) -> tuple[list[LabelledImage], list[Found]]:
    return images, [
        (np.tile(boxes, (12, 1)), rng.random(12 * len(scores)), np.tile(classes, 12))
        for boxes, scores, classes in found
    ]


CASES: dict[str, Case] = {
    "usual": _usual,
    "crowd boxes": _crowd,
    "empty images": _empty,
    "a class without boxes": _absent,
    "no boxes at all": _no_boxes,
    "no detections": _nothing,
    "equal scores": _ties,
    "boxes without area": _flat,
    "over 100 detections": _many,
}


def measure(case: Case, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the twelve numbers of a case, ours and those of pycocotools."""
    rng = np.random.default_rng(seed)
    images = draw_images(rng)
    images, found = case(images, [draw_found(image, rng) for image in images], rng)
    evaluator = make_evaluator(images, NAMES)
    for image, detections in zip(images, found, strict=True):
        evaluator.update(Path(image.path), *detections)
    metrics = evaluator.compute()
    return np.array([getattr(metrics, name) for name in STATS]), plain(evaluator.ground_truth, evaluator.predictions)


def plain(truth: dict[str, Any], predictions: list[dict[str, Any]]) -> np.ndarray:
    """Give the twelve numbers of pycocotools alone."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = coco_of(truth)
        # pycocotools cannot load an empty list.
        results = coco.loadRes(predictions) if predictions else coco_of({**truth, "annotations": []})
        evaluation = COCOeval(coco, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def _chosen(image: LabelledImage, chosen: np.ndarray) -> LabelledImage:
    return LabelledImage(image.path, image.height, image.width, image.classes[chosen], image.boxes[chosen])


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 1 where a number differs."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    seed = parser.parse_args(argv).seed
    print(f"| case | by | {' | '.join(STATS)} | largest difference |\n|{'---|' * (len(STATS) + 3)}")
    largest = 0.0
    for name, case in CASES.items():
        ours, theirs = measure(case, seed)
        difference = float(np.abs(ours - theirs).max())
        largest = max(largest, difference)
        for by, numbers, last in (("moat_det", ours, ""), ("pycocotools", theirs, f"{difference:g}")):
            print(f"| {name} | {by} | {' | '.join(f'{number:.4f}' for number in numbers)} | {last} |")
    return int(largest > 0)


if __name__ == "__main__":
    sys.exit(main())
