"""The evaluator of a split, from its labels or from the user's own COCO JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.evaluation.annotations import load_annotations
from moat_det.evaluation.coco import CocoEvaluator
from moat_det.evaluation.ground_truth import coco_ground_truth, number_categories, number_images


def make_evaluator(images: Sequence[LabelledImage], names: dict[int, str], annotations: str | None) -> CocoEvaluator:
    """Make the evaluator of a split.

    Args:
        images: Of the split, with their labels.
        names: Class index -> name.
        annotations: The user's own COCO JSON, whose ids and boxes to use instead of the dataset's labels.

    Raises:
        UserError: The JSON is not in order, or not of this split.
    """
    paths = [Path(image.path) for image in images]
    if annotations is not None:
        return CocoEvaluator(*load_annotations(Path(annotations), paths, names), names)
    truth = coco_ground_truth(images, names)
    return CocoEvaluator(truth, number_images(paths), number_categories(names), names)
