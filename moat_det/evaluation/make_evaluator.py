"""The evaluator of a split, from its labels or from the user's own COCO JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.evaluation.annotations import load_annotations
from moat_det.evaluation.coco import CocoEvaluator
from moat_det.evaluation.ground_truth import coco_ground_truth, number_categories, number_images


def make_evaluator(
    images: Sequence[LabelledImage],
    names: dict[int, str],
    annotations: str | None = None,
    only: Sequence[int] | None = None,
) -> CocoEvaluator:
    """Make the evaluator of a split.

    Args:
        images: Of the split, with their labels.
        names: Class index -> name.
        annotations: The user's own COCO JSON, whose ids and boxes to use instead of the dataset's labels.
        only: The classes that are looked for, whose labels `images` have; None: all.

    Raises:
        UserError: The JSON is not in order, or not of this split.
    """
    paths = [Path(image.path) for image in images]
    if annotations is not None:
        truth, image_ids, category_ids = load_annotations(Path(annotations), paths, names)
        if only is not None:
            looked_for = {category_ids[index] for index in only}
            truth["annotations"] = [each for each in truth["annotations"] if each["category_id"] in looked_for]
        return CocoEvaluator(truth, image_ids, category_ids, names)
    truth = coco_ground_truth(images, names)
    return CocoEvaluator(truth, number_images(paths), number_categories(names), names)
