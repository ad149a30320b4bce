"""The folder that `moat val` leaves, read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from moat_det.errors import UserError
from moat_det.evaluation.coco_entries import check_ground_truth, check_references, check_results
from moat_det.messages import one_line


class Validation(NamedTuple):
    """What a validation measured.

    Attributes:
        folder: Where it lies.
        ground_truth: The COCO dictionary of the labels.
        predictions: The detections, in COCO's results format.
    """

    folder: Path
    ground_truth: dict[str, Any]
    predictions: list[dict[str, Any]]


ERRORS = "errors.json"
"""The file of the errors of a validation."""

REPORT = "report.html"
"""Its page."""

CONFUSION, PRECISION_RECALL = "confusion_matrix.png", "PR_curve.png"
ROC, FROC, RELIABILITY = "ROC_curve.png", "FROC_curve.png", "reliability.png"
PLOTS = (CONFUSION, PRECISION_RECALL, ROC, FROC, RELIABILITY)
"""Its plots."""

BATCHES = tuple((f"val_batch{number}_labels.jpg", f"val_batch{number}_pred.jpg") for number in range(3))
"""Its pictures of the first batches: the labels and the detections of each."""


def read_validation(folder: Path) -> Validation:
    """Read the labels and detections of a validation.

    Raises:
        UserError: It is no folder of a validation, or a file of it is damaged or of another one.
    """
    truth_file, predictions_file = folder / "ground_truth.json", folder / "predictions.json"
    truth, predictions = read_json(truth_file, folder), read_json(predictions_file, folder)
    lists = ("images", "annotations", "categories")
    if not isinstance(truth, dict) or not all(isinstance(truth.get(name), list) for name in lists):
        raise UserError(f"{truth_file}: no COCO ground truth; run moat val again")
    if not isinstance(predictions, list):
        raise UserError(f"{predictions_file}: no COCO results; run moat val again")
    check_ground_truth(truth_file, truth)
    check_references(truth_file, truth, "image_id", "images")
    check_references(truth_file, truth, "category_id", "categories")
    check_results(predictions_file, predictions, truth)
    return Validation(folder, truth, predictions)


def read_json(file: Path, folder: Path) -> Any:
    """Read a file of a validation.

    Raises:
        UserError: It is not there, or damaged.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        message = f"{folder}: no folder of a validation, it has no {file.name}; give that of a moat val"
        raise UserError(message) from None
    except (OSError, ValueError, RecursionError) as error:  # the last: nested too deep
        raise UserError(f"{file}: cannot be read ({one_line(error)}); run moat val again") from None
