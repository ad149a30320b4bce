"""What a validation's detections and labels say of the rates that a target is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from moat_det.evaluation.inspection.box_matches import ClassMatches, match_boxes
from moat_det.evaluation.inspection.parts import Parts, read_parts
from moat_det.evaluation.inspection.rates import FalseAlarms, MissedBoxes, PartRate, Rate

_IOU = np.array([0.5])  # that a detection needs to find a box


@dataclass(frozen=True)
class Evidence:
    """The rates of a split, of all classes together or of one alone.

    Attributes:
        parts: The parts; of one class, with their score in it.
        good: (N,) whether each part has no label at all, which of one class is less than no label of it.
        matches: Of each class.
    """

    parts: Parts
    good: np.ndarray
    matches: Sequence[ClassMatches]

    def rate(self, target: str) -> Rate:
        """Give the rate that shall be low, by the name of its target."""
        rates: dict[str, Callable[[], Rate]] = {
            "max_escape": self.escape,
            "max_overkill": self.overkill,
            "target_recall": self.missed_boxes,
            "max_false_alarms_per_image": self.false_alarms,
        }
        return rates[target]()

    def escape(self) -> PartRate:
        """Give the share of defective parts below the threshold."""
        return PartRate("defective parts", self.parts.scores[self.parts.defective], rises=True)

    def overkill(self) -> PartRate:
        """Give the share of good parts from the threshold on."""
        return PartRate("good parts", self.parts.scores[self.good], rises=False)

    def missed_boxes(self) -> MissedBoxes:
        """Give the share of boxes that no detection finds."""
        scores = np.concatenate([np.zeros(0), *(matched.found_at[0] for matched in self.matches)])
        return MissedBoxes(scores, self._parts_of([matched.objects for matched in self.matches]))

    def false_alarms(self) -> FalseAlarms:
        """Give the detections that find no box, per image."""
        scores = np.concatenate([np.zeros(0), *(matched.scores[matched.wrong[0]] for matched in self.matches)])
        parts = self._parts_of([matched.images[matched.wrong[0]] for matched in self.matches])
        return FalseAlarms(scores, parts, self.parts.image_counts)

    def _parts_of(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Give the part of each image, which are positions in the ground truth."""
        of_image = np.fromiter(self.parts.of_image.values(), dtype=int, count=len(self.parts.of_image))
        return of_image[np.concatenate([np.zeros(0, dtype=int), *images])]


def read_evidence(
    ground_truth: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]], group: str | None = None
) -> Evidence:
    """Give the rates of all classes together.

    Args:
        ground_truth: The COCO dictionary that a validation writes.
        predictions: Its detections, in COCO's results format.
        group: What makes images one part, as `read_parts` takes it.

    Raises:
        UserError: As `read_parts` does.
    """
    parts = read_parts(ground_truth, predictions, group)
    return Evidence(parts, ~parts.defective, match_boxes(ground_truth, predictions, _IOU, max_detections=None))


def read_evidence_by_class(
    ground_truth: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    group: str | None = None,
) -> dict[str, Evidence]:
    """Give the rates of each class by itself, by its name; see `read_evidence`.

    Args:
        ground_truth: As there.
        predictions: As there.
        names: The classes, each a name of the ground truth's categories.
        group: As there.
    """
    overall = read_evidence(ground_truth, predictions, group)
    matches = {matched.category_id: matched for matched in overall.matches}
    ids = category_ids(ground_truth)
    return {
        name: Evidence(
            read_parts(ground_truth, predictions, group, ids[name]), ~overall.parts.defective, [matches[ids[name]]]
        )
        for name in names
    }


def category_ids(ground_truth: Mapping[str, Any]) -> dict[str, int]:
    """Give the id of each category by its name."""
    return {str(category["name"]): category["id"] for category in ground_truth["categories"]}
