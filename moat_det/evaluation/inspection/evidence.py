"""What a validation's detections and labels say of the rates that a target is about, part by part."""

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
    """The parts, boxes and false alarms of a split, of all classes together or of one alone.

    Attributes:
        scores: (P,) of each part, as `Parts` has them.
        defective: (P,) whether each part has a label, of one class one of it.
        good: (P,) whether each part has no label of any class.
        images: (P,) how many images each part has.
        found_at: (B,) the score of the detection that finds each box; -1 where none does.
        box_parts: (B,) the part that each box is on.
        alarms: (A,) the scores of the detections that find no box.
        alarm_parts: (A,) the part that each is on.
    """

    scores: np.ndarray
    defective: np.ndarray
    good: np.ndarray
    images: np.ndarray
    found_at: np.ndarray
    box_parts: np.ndarray
    alarms: np.ndarray
    alarm_parts: np.ndarray

    def rate(self, target: str) -> Rate:
        """Give the rate that shall be low, by the name of its target."""
        rates: dict[str, Callable[[], Rate]] = {
            "max_escape": lambda: PartRate("defective parts", self.scores[self.defective], rises=True),
            "max_overkill": lambda: PartRate("good parts", self.scores[self.good], rises=False),
            "target_recall": lambda: MissedBoxes(self.found_at, self.box_parts),
            "max_false_alarms_per_image": lambda: FalseAlarms(self.alarms, self.alarm_parts, self.images),
        }
        return rates[target]()

    def drawn(self, parts: np.ndarray) -> Evidence:
        """Give the evidence of parts that were drawn, some perhaps several times.

        Args:
            parts: (N,) positions.
        """
        box_parts, boxes = _copies(self.box_parts, parts, len(self.scores))
        alarm_parts, alarms = _copies(self.alarm_parts, parts, len(self.scores))
        return Evidence(
            scores=self.scores[parts],
            defective=self.defective[parts],
            good=self.good[parts],
            images=self.images[parts],
            found_at=self.found_at[boxes],
            box_parts=box_parts,
            alarms=self.alarms[alarms],
            alarm_parts=alarm_parts,
        )


def read_evidence(
    ground_truth: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]], group: str | None = None
) -> Evidence:
    """Give the evidence of all classes together.

    Args:
        ground_truth: The COCO dictionary that a validation writes.
        predictions: Its detections, in COCO's results format.
        group: What makes images one part, as `read_parts` takes it.

    Raises:
        UserError: As `read_parts` does.
    """
    parts = read_parts(ground_truth, predictions, group)
    return _evidence(parts, ~parts.defective, match_boxes(ground_truth, predictions, _IOU, max_detections=None))


def read_evidence_by_class(
    ground_truth: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    group: str | None = None,
) -> dict[str, Evidence]:
    """Give the evidence of each class by itself, by its name; see `read_evidence`.

    Args:
        ground_truth: As there.
        predictions: As there.
        names: The classes, each a name of the ground truth's categories.
        group: As there.
    """
    good = ~read_parts(ground_truth, predictions, group).defective
    matches = {each.category_id: each for each in match_boxes(ground_truth, predictions, _IOU, max_detections=None)}
    ids = category_ids(ground_truth)
    return {
        name: _evidence(read_parts(ground_truth, predictions, group, ids[name]), good, [matches[ids[name]]])
        for name in names
    }


def category_ids(ground_truth: Mapping[str, Any]) -> dict[str, int]:
    """Give the id of each category by its name."""
    return {str(category["name"]): category["id"] for category in ground_truth["categories"]}


def _evidence(parts: Parts, good: np.ndarray, matches: Sequence[ClassMatches]) -> Evidence:
    part_of = np.fromiter(parts.of_image.values(), dtype=int, count=len(parts.of_image))
    nothing = np.zeros(0, dtype=int)
    return Evidence(
        scores=parts.scores,
        defective=parts.defective,
        good=good,
        images=parts.image_counts,
        found_at=np.concatenate([np.zeros(0), *(each.found_at[0] for each in matches)]),
        box_parts=part_of[np.concatenate([nothing, *(each.objects for each in matches)])],
        alarms=np.concatenate([np.zeros(0), *(each.scores[each.wrong[0]] for each in matches)]),
        alarm_parts=part_of[np.concatenate([nothing, *(each.images[each.wrong[0]] for each in matches)])],
    )


def _copies(owners: np.ndarray, drawn: np.ndarray, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """Give for things that parts own, once for each time that their part was drawn, the draw and which thing it is."""
    order = np.argsort(owners, kind="stable")
    counts = np.bincount(owners, minlength=parts)
    starts = np.cumsum(counts) - counts
    own = counts[drawn]
    within = np.arange(own.sum()) - np.repeat(np.cumsum(own) - own, own)
    return np.repeat(np.arange(len(drawn)), own), order[np.repeat(starts[drawn], own) + within]
