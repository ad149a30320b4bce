from __future__ import annotations

from pathlib import Path

import numpy as np

from helpers.evaluation_sample import NAMES, evaluator_of, random_detections, random_images
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.evaluation import CocoEvaluator, confusion_matrix

BOXES = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]], dtype=float)


def hand_example() -> tuple[CocoEvaluator, Path]:
    path = Path("a.png")
    return evaluator_of([LabelledImage(str(path), 100, 100, np.array([0, 0, 1, 2]), BOXES)]), path


def test_hand_example() -> None:
    evaluator, path = hand_example()
    detections = [
        ([0, 0, 10, 9], 0.9, 0),  # Right.
        ([0, 0, 10, 10], 0.8, 1),  # A second on the same object: background.
        ([20, 0, 30, 8], 0.7, 1),  # A scratch taken for a pit.
        ([40, 0, 50, 4], 0.9, 1),  # IoU 0.4: background, and the pit is missed.
        ([60, 0, 70, 10], 0.2, 2),  # Below the confidence: missed.
    ]
    evaluator.update(path, *map(np.array, zip(*detections, strict=True)))
    np.testing.assert_array_equal(
        confusion_matrix(evaluator, conf=0.25),
        # Columns: scratch, pit, stain, background.
        [[1, 0, 0, 0], [1, 0, 0, 2], [0, 0, 0, 0], [0, 1, 1, 0]],
    )
    assert confusion_matrix(evaluator, conf=0.25, iou=0.4)[1, 1] == 1
    assert confusion_matrix(evaluator, conf=0.2)[2, 2] == 1


def test_of_two_equal_objects_a_detection_takes_its_own_class() -> None:
    path = Path("a.png")
    boxes = np.repeat(BOXES[:1], 2, axis=0)
    for classes in ([0, 1], [1, 0]):
        evaluator = evaluator_of([LabelledImage(str(path), 100, 100, np.array(classes), boxes)])
        evaluator.update(path, boxes, np.array([0.9, 0.8]), np.array([1, 0]))
        assert np.diag(confusion_matrix(evaluator)).tolist() == [1, 1, 0, 0]


def test_crowd_regions_count_neither_way() -> None:
    evaluator, path = hand_example()
    evaluator.ground_truth["annotations"][0]["iscrowd"] = 1
    evaluator.update(path, np.array([[0, 0, 5, 5], [90, 90, 99, 99]]), np.ones(2), np.array([0, 0]))
    matrix = confusion_matrix(evaluator)
    assert matrix[:, 3].tolist() == [1, 0, 0, 0]
    assert matrix[3].tolist() == [1, 1, 1, 0]


def test_every_object_and_every_confident_detection_counts_once() -> None:
    images = random_images(30)
    evaluator = evaluator_of(images)
    for seed, image in enumerate(images):
        evaluator.update(Path(image.path), *random_detections(image, seed))
    matrix = confusion_matrix(evaluator, conf=0.5)
    objects = [sum(int((image.classes == index).sum()) for image in images) for index in NAMES]
    assert matrix[:, :-1].sum(axis=0).tolist() == objects
    confident = [entry for entry in evaluator.predictions if entry["score"] >= 0.5]
    assert matrix[:-1].sum() == len(confident)
    assert matrix[-1, -1] == 0


def test_without_detections_all_is_background() -> None:
    evaluator, _ = hand_example()
    assert confusion_matrix(evaluator)[3].tolist() == [2, 1, 1, 0]
