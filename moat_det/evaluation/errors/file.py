"""`errors.json`: the error analysis of a validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moat_det.evaluation.errors.kinds import ALARMS, MISSES, find_errors
from moat_det.evaluation.errors.lost_ap import lost_ap
from moat_det.evaluation.errors.overlaps import BACKGROUND_IOU, FOUND_IOU, Entry, match_images
from moat_det.evaluation.errors.suspicious import suspicious_labels
from moat_det.evaluation.inspection.rule import Rule
from moat_det.evaluation.validation_folder import ERRORS
from moat_det.files import atomic_write_json


def error_analysis(
    ground_truth: Mapping[str, Any], predictions: Sequence[Entry], rule: Rule | None = None
) -> dict[str, Any]:
    """Give the content of `errors.json`.

    Args:
        ground_truth: The COCO dictionary that a validation writes.
        predictions: Its detections, in COCO's results format.
        rule: From its threshold on, or that of the class, a detection that is wrong is a false alarm. An object is
            missed where what finds it lets the part pass: below that, or below the review where there is one. AP looks
            at all scores, and so does what its kinds of error cost. None: the default.

    Returns:
        `threshold`, `review` and `per_class`, those of the rule; `iou` and `background_iou`; `ap50`; `ap_lost` by kind
        (see `lost_ap`); `right`, objects that were found; `counts` of `false_alarm` and `miss` by kind; `errors` (see
        `find_errors`); `suspicious_labels` (see there).
    """
    names = {category["id"]: str(category["name"]) for category in ground_truth["categories"]}
    images = match_images(ground_truth, predictions)
    rule = rule or Rule()
    passing = rule.passing_below(ground_truth)
    errors, right = find_errors(images, names, rule.by_category(ground_truth), passing)
    ap50, cost = lost_ap(images, passing)
    counted = Counter((error["type"], error["kind"]) for error in errors)
    return {
        "threshold": rule.threshold,
        "review": rule.review,
        "per_class": dict(rule.per_class),
        "iou": FOUND_IOU,
        "background_iou": BACKGROUND_IOU,
        "ap50": ap50,
        "ap_lost": cost,
        "right": right,
        "counts": {
            "false_alarm": {kind: counted["false_alarm", kind] for kind in ALARMS},
            "miss": {kind: counted["miss", kind] for kind in MISSES},
        },
        "errors": errors,
        "suspicious_labels": suspicious_labels(ground_truth, [predictions]),
    }


def write_errors(
    folder: Path, ground_truth: Mapping[str, Any], predictions: Sequence[Entry], rule: Rule | None = None
) -> dict[str, Any]:
    """Write `errors.json` into the folder of a validation, atomically; gives its content (see `error_analysis`).

    Raises:
        OSError: It cannot be written.
    """
    content = error_analysis(ground_truth, predictions, rule)
    atomic_write_json(folder / ERRORS, content, indent=1)
    return content
