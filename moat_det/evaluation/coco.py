"""COCO mAP by pycocotools: update with each image's detections, then compute."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from moat_det.evaluation.best_f1 import best_f1
from moat_det.evaluation.ground_truth import written_boxes
from moat_det.evaluation.matching import BoxEval, coco_of

STATS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""The twelve COCO numbers in the order of `COCOeval.stats`."""

LEAST_SCORE = 0.001
"""Detections below it are left out where the user says nothing: there are many, and hardly any changes AP."""


@dataclass(frozen=True)
class CocoMetrics:
    """The twelve COCO numbers, in [0, 1], or -1 where no object of the kind exists, as pycocotools has it.

    Attributes:
        AP: Average precision, mean over IoU 0.50:0.95 and over the classes that have objects.
        AP50: The same at IoU 0.5.
        AP75: The same at IoU 0.75.
        APs: AP of objects under 32 x 32 px.
        APm: AP of objects from 32 x 32 to 96 x 96 px.
        APl: AP of objects over 96 x 96 px.
        AR1: Average recall with one detection per image and class.
        AR10: The same with ten.
        AR100: The same with a hundred.
        ARs: AR100 of objects under 32 x 32 px.
        ARm: AR100 of objects from 32 x 32 to 96 x 96 px.
        ARl: AR100 of objects over 96 x 96 px.
        per_class: For every class its `AP`, `AP50`, and how many `images` hold how many `boxes` of it.
        images: How many images were evaluated, those without objects included.
        precision: Mean over the classes at IoU 0.5, at the confidence of the best mean F1 (see `best_f1`).
        recall: The same.
        precision_at_50: (classes, 101) precision at IoU 0.5 for recall 0, 0.01, ..., 1, in the order of
            `per_class`; -1 for a class without objects.
    """

    AP: float
    AP50: float
    AP75: float
    APs: float
    APm: float
    APl: float
    AR1: float
    AR10: float
    AR100: float
    ARs: float
    ARm: float
    ARl: float
    per_class: dict[str, dict[str, float]]
    images: int
    precision: float
    recall: float
    precision_at_50: np.ndarray = field(repr=False, compare=False)

    def to_json_dict(self, speed_ms: Mapping[str, float]) -> dict[str, Any]:
        """Give the content of `metrics.json`.

        Args:
            speed_ms: Milliseconds per image of each step.
        """
        return {
            **{name: getattr(self, name) for name in STATS},
            "per_class": self.per_class,
            "images": self.images,
            "speed_ms": dict(speed_ms),
        }


class CocoEvaluator:
    """Collects detections and evaluates them as an outsider would evaluate the written files.

    Attributes:
        ground_truth: The COCO dictionary, as given.
        labels: Category id to name: the model's classes in their order, then the categories that only the
            ground truth knows. Names that occur twice carry their id.
    """

    def __init__(
        self,
        ground_truth: dict[str, Any],
        image_ids: Mapping[Path, int],
        category_ids: Mapping[int, int],
        names: Mapping[int, str],
    ) -> None:
        """Prepare the evaluation of one split.

        Args:
            ground_truth: From `coco_ground_truth` or `load_annotations`. Never changed.
            image_ids: Path to image id, from `number_images` or `load_annotations`.
            category_ids: Class index to category id, from `number_categories` or `load_annotations`.
            names: Class index to name.
        """
        self.ground_truth = ground_truth
        self.labels = _labels(ground_truth, category_ids, names)
        self._image_ids = image_ids
        self._category_ids = category_ids
        self._detections: dict[int, list[dict[str, Any]]] = {}
        self._owners = _owners(ground_truth)
        # pycocotools writes into the annotations, and prints: it gets copies, and no terminal.
        with redirect_stdout(io.StringIO()):
            self._coco = coco_of({**ground_truth, "annotations": [dict(a) for a in ground_truth["annotations"]]})

    def reset(self) -> None:
        """Forget all detections."""
        self._detections = {}

    def update(self, path: Path, boxes_xyxy: np.ndarray, scores: np.ndarray, classes: np.ndarray) -> None:
        """Set the detections of one image; an earlier update of the same image is replaced.

        Args:
            path: The image, a key of `image_ids`.
            boxes_xyxy: (N, 4) x1 y1 x2 y2 in original pixels.
            scores: (N,) confidence. Detections with a box or score that is not finite are left out.
            classes: (N,) class indices.

        Raises:
            KeyError: The path or a class is not part of the ground truth.
        """
        corners = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
        scores = np.asarray(scores, dtype=np.float64).reshape(-1)
        classes = np.asarray(classes, dtype=int).reshape(-1)
        finite = np.isfinite(corners).all(axis=1) & np.isfinite(scores)
        corners, scores, classes = corners[finite], scores[finite], classes[finite]
        boxes = written_boxes(corners)
        image_id = self._image_ids[path]
        self._detections[image_id] = [
            {"image_id": image_id, "category_id": self._category_ids[index], "bbox": box, "score": score}
            for index, box, score in zip(classes.tolist(), boxes.tolist(), scores.tolist(), strict=True)
        ]

    @property
    def detections(self) -> dict[int, list[dict[str, Any]]]:
        """What was found in each image seen so far, by its id, as `predictions` has it."""
        return self._detections

    def join(self, detections: Mapping[int, list[dict[str, Any]]]) -> None:
        """Take over the `detections` of another evaluator of the split, which saw other images."""
        self._detections.update(detections)

    def image_id(self, path: Path) -> int:
        """Give the id of an image; raises `KeyError` where the path is not part of the ground truth."""
        return self._image_ids[path]

    @property
    def predictions(self) -> list[dict[str, Any]]:
        """The detections in the COCO results format, by image id, hence the same for every order of updates.

        Boxes are x y w h in pixels, rounded to 0.001; scores keep all their digits.
        """
        return [dict(entry) for image_id in sorted(self._detections) for entry in self._detections[image_id]]

    def compute(self) -> CocoMetrics:
        """Evaluate all images of the ground truth, those without an update too."""
        predictions = self.predictions
        with redirect_stdout(io.StringIO()):
            # loadRes stops at an empty list.
            empty = coco_of({**self.ground_truth, "annotations": []})
            evaluation = BoxEval(self._coco, self._coco.loadRes(predictions) if predictions else empty)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()

        # (IoU, recall, class) for all areas and 100 detections.
        precision = evaluation.eval["precision"][:, :, :, 0, -1]
        column = {category_id: k for k, category_id in enumerate(evaluation.params.catIds)}
        per_class: dict[str, dict[str, float]] = {}
        for category_id, label in self.labels.items():
            of_class = precision[:, :, column[category_id]]
            owners = self._owners[category_id]
            per_class[label] = {
                "AP": float(of_class.mean()),
                "AP50": float(of_class[0].mean()),
                "images": len(set(owners)),
                "boxes": len(owners),
            }
        precision_at_best, recall_at_best = best_f1(evaluation)
        return CocoMetrics(
            **{name: float(value) for name, value in zip(STATS, evaluation.stats, strict=True)},
            per_class=per_class,
            images=len(self._coco.imgs),
            precision=precision_at_best,
            recall=recall_at_best,
            precision_at_50=precision[0][:, [column[category_id] for category_id in self.labels]].T,
        )


def _owners(ground_truth: dict[str, Any]) -> dict[int, list[int]]:
    """Give the image of every box, crowd regions left out, by category."""
    known = {image["id"] for image in ground_truth["images"]}
    owners: dict[int, list[int]] = defaultdict(list)
    for annotation in ground_truth["annotations"]:
        if annotation["image_id"] in known and not annotation["iscrowd"]:
            owners[annotation["category_id"]].append(annotation["image_id"])
    return owners


def _labels(ground_truth: dict[str, Any], category_ids: Mapping[int, int], names: Mapping[int, str]) -> dict[int, str]:
    wanted = {category_ids[index]: str(names[index]) for index in sorted(names)}
    annotated = {annotation["category_id"] for annotation in ground_truth["annotations"]}
    for category in ground_truth["categories"]:
        if category["id"] in annotated:
            wanted.setdefault(category["id"], str(category["name"]))
    counts = list(wanted.values())
    return {key: label if counts.count(label) == 1 else f"{label} ({key})" for key, label in wanted.items()}
