"""All figures of an inspection at one threshold: what `inspection.json` holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moat_det.errors import UserError
from moat_det.evaluation.inspection.average_precision import ap_interval
from moat_det.evaluation.inspection.box_matches import Entry, match_boxes
from moat_det.evaluation.inspection.calibration import Bin, Calibration, calibrate
from moat_det.evaluation.inspection.figures import (
    Roc,
    auroc,
    escape,
    overkill,
    overkill_at_zero_escape,
    reviewed,
    roc,
    zero_escape_threshold,
)
from moat_det.evaluation.inspection.froc import FrocPoint, false_alarms, froc, gather, recall_interval
from moat_det.evaluation.inspection.intervals import CONFIDENCE, RESAMPLES, Interval
from moat_det.evaluation.inspection.parts import Parts, read_parts
from moat_det.evaluation.inspection.recall import Recall, SizeRecall, class_labels, recall_by_class, recall_by_size
from moat_det.evaluation.inspection.rule import Rule
from moat_det.evaluation.validation_folder import read_json
from moat_det.messages import shown
from moat_det.values import is_number

INSPECTION = "inspection.json"
"""What a validation calls its file of them."""

IOU = 0.5
"""The overlap at which an object is found."""

_ROC_POINTS = 400
# What of the file is read again, and what it may be.
_READ_AGAIN = {
    "threshold": (int, float),
    "review": (int, float, type(None)),
    "per_class": (dict, type(None)),
    "group": (str, type(None)),
}


@dataclass(frozen=True)
class Inspection:
    """The figures; each is None where there is nothing to measure.

    Attributes:
        parts: What was inspected.
        group: The regular expression that made parts of images; None: each is one.
        rule: At which escape, overkill, recall and false alarms hold.
        confidence: Of the intervals.
        escape: Share of the defective parts that pass.
        overkill: Share of the good parts that are rejected.
        reviewed: Share of all parts that are looked at; None without a review.
        auroc: Probability that a defective part scores higher than a good one.
        overkill_at_zero_escape: At the highest threshold at which no defective part passes.
        zero_escape_threshold: That threshold.
        roc: Escape and overkill at every threshold.
        recall: Share of the boxes that are found, by a detection that rejects its part or has it looked at.
        false_alarms_per_image: Detections that find none.
        froc: Recall by false alarms per image.
        recall_by_class: By the name of the class.
        recall_by_size: In COCO's ranges, and in thirds.
        calibration: Of the detections' scores.
        ap: COCO's AP; None also where no bootstrap was asked for.
    """

    parts: Parts
    group: str | None
    rule: Rule
    confidence: float
    escape: Interval | None
    overkill: Interval | None
    reviewed: Interval | None
    auroc: Interval | None
    overkill_at_zero_escape: Interval | None
    zero_escape_threshold: float | None
    roc: Roc | None
    recall: Interval | None
    false_alarms_per_image: Interval | None
    froc: list[FrocPoint]
    recall_by_class: dict[str, Recall]
    recall_by_size: list[SizeRecall]
    calibration: Calibration | None
    ap: Interval | None

    def to_json_dict(self) -> dict[str, Any]:
        """Give the content of `inspection.json`: each figure with `value`, `low` and `high`, or null."""
        by_class = {name: _recall(row) for name, row in self.recall_by_class.items()}
        return {
            "threshold": self.rule.threshold,
            "review": self.rule.review,
            "per_class": dict(self.rule.per_class),
            "confidence": self.confidence,
            "group": self.group,
            "parts": len(self.parts),
            "defective_parts": int(self.parts.defective.sum()),
            "images": len(self.parts.of_image),
            "escape": _interval(self.escape),
            "overkill": _interval(self.overkill),
            "reviewed": _interval(self.reviewed),
            "auroc": _interval(self.auroc),
            "overkill_at_zero_escape": _interval(self.overkill_at_zero_escape),
            "zero_escape_threshold": self.zero_escape_threshold,
            "recall": _interval(self.recall),
            "false_alarms_per_image": _interval(self.false_alarms_per_image),
            "ap": _interval(self.ap),
            "froc": [
                {
                    "false_alarms_per_image": point.false_alarms_per_image,
                    "recall": point.recall.value,
                    "low": point.recall.low,
                    "high": point.recall.high,
                    "threshold": point.threshold,
                }
                for point in self.froc
            ],
            "recall_by_class": by_class,
            "recall_by_size": [
                {
                    "buckets": row.buckets,
                    "name": row.name,
                    "from_side": row.from_side,
                    "to_side": row.to_side if np.isfinite(row.to_side) else None,
                    **_recall(row),
                }
                for row in self.recall_by_size
            ],
            "roc": _roc(self.roc),
            "calibration": _calibration(self.calibration),
        }


def inspect(
    ground_truth: Mapping[str, Any],
    predictions: Sequence[Entry],
    *,
    group: str | None = None,
    rule: Rule | None = None,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Inspection:
    """Measure what a line would see of a validation.

    Args:
        ground_truth: The COCO dictionary that a validation writes.
        predictions: Its detections, in COCO's results format.
        group: A regular expression that makes parts of images, see `read_parts`.
        rule: On the raw scores; None: the default.
        confidence: Of the intervals.
        resamples: Of the bootstrap; 0: no interval of AP.

    Raises:
        UserError: `group` is no regular expression, or does not match a name.
    """
    rule = rule or Rule()
    parts = read_parts(ground_truth, predictions, group)
    matches = match_boxes(ground_truth, predictions, np.array([IOU]), max_detections=None)
    alarms, labels = gather(matches), class_labels(ground_truth)
    # At the rule: of the detections that count by it. At any threshold: of all.
    judged, judged_matches, judged_alarms = parts, matches, alarms
    if rule.per_class:
        counted = rule.counted(ground_truth, predictions)
        judged = read_parts(ground_truth, counted, group)
        judged_matches = match_boxes(ground_truth, counted, np.array([IOU]), max_detections=None)
        judged_alarms = gather(judged_matches)
    by_class = recall_by_class(judged_matches, judged, rule.least, confidence)
    ap = ap_interval(match_boxes(ground_truth, predictions), parts, confidence, resamples) if resamples else None
    return Inspection(
        parts=parts,
        group=group,
        rule=rule,
        confidence=confidence,
        escape=escape(judged, rule.least, confidence),
        overkill=overkill(judged, rule.threshold, confidence),
        reviewed=None if rule.review is None else reviewed(judged, rule.threshold, rule.review, confidence),
        auroc=auroc(parts, confidence),
        overkill_at_zero_escape=overkill_at_zero_escape(parts, confidence),
        zero_escape_threshold=zero_escape_threshold(parts),
        roc=roc(parts),
        recall=recall_interval(judged_alarms.objects, judged_alarms.found_at >= rule.least, judged, confidence),
        false_alarms_per_image=false_alarms(judged_alarms, judged, rule.threshold, confidence),
        froc=froc(alarms, parts, confidence, resamples),
        recall_by_class={labels[category_id]: row for category_id, row in by_class.items()},
        recall_by_size=recall_by_size(judged_matches, judged, rule.least, confidence),
        calibration=calibrate(matches, parts, confidence),
        ap=ap,
    )


def read_inspection(folder: Path) -> dict[str, Any]:
    """Read the figures that a validation left in its folder; empty where it left none.

    Raises:
        UserError: The file is damaged.
    """
    file = folder / INSPECTION
    found = read_json(file, folder) if file.exists() else {}
    if not isinstance(found, dict):
        raise UserError(f"{file}: no figures of an inspection; run moat val again")
    wrong = [key for key, kinds in _READ_AGAIN.items() if key in found and not isinstance(found[key], kinds)]
    if not wrong and not all(map(is_number, (found.get("per_class") or {}).values())):
        wrong = ["per_class"]
    if wrong:
        raise UserError(f"{file}: its '{wrong[0]}' is {shown(found[wrong[0]])}; run moat val again")
    return found


def _interval(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else interval._asdict()


def _recall(row: Recall) -> dict[str, Any]:
    empty = {"value": None, "low": None, "high": None}
    return {"objects": row.objects, "found": row.found, **(_interval(row.recall) or empty)}


def _roc(curve: Roc | None) -> list[dict[str, float | None]]:
    if curve is None:
        return []
    count = len(curve.thresholds)
    chosen = np.unique(np.linspace(0, count - 1, min(count, _ROC_POINTS)).round().astype(int))
    rows = zip(curve.thresholds[chosen], curve.escape[chosen], curve.overkill[chosen], strict=True)
    return [
        {"threshold": float(at) if np.isfinite(at) else None, "escape": float(missed), "overkill": float(rejected)}
        for at, missed, rejected in rows
    ]


def _calibration(found: Calibration | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "temperature": found.temperature,
        "bias": found.bias,
        "ece_before": found.ece_before,
        "ece_after": found.ece_after,
        "fitted_on": found.fitted_on,
        "shown_on": found.shown_on,
        "bins": [_bin(each) for each in found.before],
        "bins_after": [_bin(each) for each in found.after],
    }


def _bin(each: Bin) -> dict[str, Any]:
    return {
        "from": each.low,
        "to": each.high,
        "detections": each.detections,
        "probability": each.probability,
        **each.right._asdict(),
    }
