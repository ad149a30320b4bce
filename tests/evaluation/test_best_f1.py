from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from helpers.evaluation_sample import NAMES, evaluator_of, random_detections, random_images
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.evaluation import CocoEvaluator

Box = tuple[float, float, float, float]


def evaluator(objects: list[Box], found: list[tuple[Box, float]], ignored: list[Box] | None = None) -> CocoEvaluator:
    """One image with objects of the first class, regions to ignore, and what was found with which score."""
    ignored = ignored or []
    boxes = np.array([*objects, *ignored], dtype=float).reshape(-1, 4)
    flags = np.array([False] * len(objects) + [True] * len(ignored))
    path, classes = Path("/data/a.png"), np.zeros(len(boxes), dtype=int)
    whole = evaluator_of([LabelledImage(str(path), 100, 100, classes, boxes, ignored=flags)])
    corners = np.array([box for box, _ in found]).reshape(-1, 4)
    whole.update(path, corners, np.array([score for _, score in found]), np.zeros(len(found), dtype=int))
    return whole


LEFT, RIGHT, NOWHERE = (0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 60.0, 60.0), (80.0, 80.0, 90.0, 90.0)


@pytest.mark.parametrize(
    ("found", "precision", "recall"),
    [
        ([], 0, 0),
        ([(LEFT, 0.9)], 1, 0.5),
        ([(LEFT, 0.9), (RIGHT, 0.2), (NOWHERE, 0.1)], 1, 1),  # between 0.1 and 0.2
        ([(LEFT, 0.9), (NOWHERE, 0.3), (RIGHT, 0.2)], 2 / 3, 1),  # F1 0.8 instead of 0.67
        ([(LEFT, 0.9), (LEFT, 0.8), (RIGHT, 0.7)], 2 / 3, 1),  # an object is found once
        ([(NOWHERE, 0.9)], 0, 0),
    ],
)
def test_by_hand(found: list[tuple[Box, float]], precision: float, recall: float) -> None:
    figures = evaluator([LEFT, RIGHT], found).compute()
    assert (figures.precision, figures.recall) == pytest.approx((precision, recall))


def test_regions_to_ignore_count_neither_way() -> None:
    figures = evaluator([LEFT], [(LEFT, 0.5), (NOWHERE, 0.9)], ignored=[NOWHERE]).compute()
    assert (figures.precision, figures.recall) == (1, 1)


def test_without_objects_both_are_0() -> None:
    figures = evaluator([], [(LEFT, 0.5)]).compute()
    assert (figures.precision, figures.recall) == (0, 0)


def test_they_are_those_of_pycocotools_on_the_detections_above_a_confidence() -> None:
    images = random_images(8)
    whole = evaluator_of(images)
    found = {Path(image.path): random_detections(image, seed) for seed, image in enumerate(images)}
    for path, detections in found.items():
        whole.update(path, *detections)
    points = []
    for confidence in np.arange(5, 1000, 10) / 1000:  # between the scores, which have two digits
        part = evaluator_of(images)
        for path, (boxes, scores, classes) in found.items():
            kept = scores >= confidence
            part.update(path, boxes[kept], scores[kept], classes[kept])
        if not part.predictions:
            continue
        recall = recall_of(part)
        objects, counts = (
            np.array([sum(entry["category_id"] == index + 1 for entry in entries) for index in NAMES])
            for entries in (part.ground_truth["annotations"], part.predictions)
        )
        precision = recall * objects / np.maximum(counts, 1)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        points.append((f1.mean(), precision.mean(), recall.mean()))
    figures = whole.compute()
    assert (figures.precision, figures.recall) == pytest.approx(max(points)[1:])
    assert 0 < figures.precision < 1


def recall_of(evaluator: CocoEvaluator) -> np.ndarray:
    """The recall of each class at IoU 0.5, by plain pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = evaluator.ground_truth
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(evaluator.predictions), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    return np.asarray(evaluation.eval["recall"][0, :, 0, -1])
