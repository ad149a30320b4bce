"""A small random split with detections, and pycocotools run on files as an outsider would."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.evaluation import (
    CocoEvaluator,
    coco_ground_truth,
    number_categories,
    number_images,
)

NAMES = {0: "scratch", 1: "pit", 2: "stain"}


def random_images(count: int, seed: int = 0) -> list[LabelledImage]:
    """Images with 0 to 5 boxes, small, medium and large, with many decimals; about a sixth are good parts."""
    rng = np.random.default_rng(seed)
    images = []
    for number in range(count):
        boxes = int(rng.integers(0, 6))
        corner = rng.uniform(0, 300, (boxes, 2))
        size = rng.uniform(8, 200, (boxes, 2))
        images.append(
            LabelledImage(
                path=f"/data/val/{number:03d}.png",
                height=512,
                width=640,
                boxes=np.hstack([corner, corner + size]),
                classes=rng.integers(0, len(NAMES), boxes),
            )
        )
    return images


def random_detections(image: LabelledImage, seed: int, noise: float = 6.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Several detections around each object, some of a wrong class, and many on the background."""
    rng = np.random.default_rng(seed)
    near = np.repeat(image.boxes, 3, axis=0) + rng.normal(0, noise, (3 * len(image.boxes), 4))
    near_classes = np.repeat(image.classes, 3)
    wrong = rng.random(len(near)) < 0.2
    near_classes = np.where(wrong, rng.integers(0, len(NAMES), len(near)), near_classes)
    corner = rng.uniform(0, 400, (20, 2))
    far = np.hstack([corner, corner + rng.uniform(5, 120, (20, 2))])
    boxes = np.vstack([near, far])
    # Few digits, so that equal scores occur.
    scores = np.round(rng.random(len(boxes)), 2).astype(np.float32)
    return boxes, scores, np.concatenate([near_classes, rng.integers(0, len(NAMES), 20)])


def only(image: LabelledImage, chosen: np.ndarray) -> LabelledImage:
    """The image with the boxes that `chosen`, (N,) bool, says."""
    return LabelledImage(image.path, image.height, image.width, image.classes[chosen], image.boxes[chosen])


def evaluator_of(images: list[LabelledImage], names: dict[int, str] = NAMES) -> CocoEvaluator:
    """An evaluator on the images' own labels, without detections."""
    return CocoEvaluator(
        coco_ground_truth(images, names),
        number_images(Path(image.path) for image in images),
        number_categories(names),
        names,
    )


def outsider(ground_truth: Path, predictions: Path) -> np.ndarray:
    """The twelve numbers of plain pycocotools for two files."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(ground_truth))
        evaluation = COCOeval(coco, coco.loadRes(str(predictions)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats
