"""From which scores on a part is rejected, or looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from moat_det.evaluation.inspection.box_matches import Entry
from moat_det.evaluation.inspection.operating_point import OperatingPoint

THRESHOLD = 0.25
"""Where nobody chose another."""


@dataclass(frozen=True)
class Rule:
    """What becomes of a part by its scores.

    Attributes:
        threshold: From it on a part is rejected, and a detection shown.
        review: From it on a part that is not rejected is looked at; None: there is no review.
        per_class: The threshold of each class, by its name, instead of the one; empty: one for all.
    """

    threshold: float = THRESHOLD
    review: float | None = None
    per_class: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of_point(cls, point: OperatingPoint) -> Rule | None:
        """Give that of an operating point; None where its target was out of reach."""
        return None if point.threshold is None else cls(point.threshold, point.review, point.per_class)

    @classmethod
    def of_inspection(cls, content: Mapping[str, Any]) -> Rule:
        """Give that of what `inspection.json` or `errors.json` holds."""
        return cls(
            float(content.get("threshold", THRESHOLD)), content.get("review"), dict(content.get("per_class") or {})
        )

    @property
    def least(self) -> float:
        """The score below which a part passes, with thresholds by class whatever the class."""
        return self.threshold if self.review is None else self.review

    def by_category(self, ground_truth: Mapping[str, Any]) -> dict[int, float]:
        """Give the score from which on a detection is shown, by the id of its category in a COCO dictionary."""
        return {
            category["id"]: self.per_class.get(str(category["name"]), math.inf) if self.per_class else self.threshold
            for category in ground_truth["categories"]
        }

    def passing_below(self, ground_truth: Mapping[str, Any]) -> dict[int, float]:
        """Give the score below which a detection lets its part pass, by the id of its category in a COCO dictionary."""
        at = self.by_category(ground_truth)
        return at if self.review is None else dict.fromkeys(at, self.review)

    def counted(self, ground_truth: Mapping[str, Any], predictions: Sequence[Entry]) -> Sequence[Entry]:
        """Give the detections that count, in COCO's results format: all, or those at the threshold of their class.

        Args:
            ground_truth: The COCO dictionary that a validation writes.
            predictions: Its detections.
        """
        if not self.per_class:
            return predictions
        at = self.by_category(ground_truth)
        return [entry for entry in predictions if entry["score"] >= at.get(entry["category_id"], math.inf)]

    def __str__(self) -> str:
        """Say it in a few words, after "at"."""
        if self.per_class:
            return "the threshold of each class"
        review = "" if self.review is None else f" (review from {self.review:.3g})"
        return f"threshold {self.threshold:.3g}{review}"
