"""The folder that `moat val` leaves, read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from moat_det.errors import UserError


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
        UserError: It is no folder of a validation, or a file of it is damaged.
    """
    truth = read_json(folder / "ground_truth.json", folder)
    predictions = read_json(folder / "predictions.json", folder)
    if not isinstance(truth, dict) or not {"images", "annotations", "categories"} <= truth.keys():
        raise UserError(f"{folder / 'ground_truth.json'}: no COCO ground truth; run moat val again")
    if not isinstance(predictions, list):
        raise UserError(f"{folder / 'predictions.json'}: no COCO results; run moat val again")
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
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read ({error}); run moat val again") from None
