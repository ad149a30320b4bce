"""pycocotools' box evaluation with a faster, otherwise identical, matching step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

# COCOeval caps the IoU threshold so that equal boxes match at a threshold of 1 in spite of rounding.
_MAX_THRESHOLD = 1 - 1e-10


def coco_of(dataset: dict[str, Any]) -> COCO:
    """Give pycocotools' index of a COCO dictionary; it prints how long that took."""
    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    return coco


def overlaps(found: Sequence[Mapping[str, Any]], objects: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Give the IoU of D detections and G objects, (D, G); over the detection's area alone on crowd regions."""
    if not found or not objects:
        return np.zeros((len(found), len(objects)))
    boxes = [[entry["bbox"] for entry in entries] for entries in (found, objects)]
    return np.asarray(mask.iou(*boxes, [int(bool(entry.get("iscrowd"))) for entry in objects]))


class BoxEval(COCOeval):
    """`COCOeval` for boxes that looks only at the detections which can match.

    Most of a detector's low-score boxes overlap no object, yet `COCOeval` walks through all of them for each
    of ten IoU thresholds and four area ranges, in Python. A detection whose IoU is below the threshold on
    every object can only end unmatched: skipping it changes no number and saves half of the time.
    """

    def __init__(self, ground_truth: COCO, detections: COCO) -> None:
        """Prepare to evaluate `detections` against `ground_truth`."""
        super().__init__(ground_truth, detections, "bbox")
        self._detection_areas: dict[tuple[int, int], np.ndarray] = {}

    def computeIoU(self, imgId: int, catId: int) -> Any:
        """Keep the best detections in the order of their scores, for all area ranges, and give their IoUs."""
        key = imgId, catId
        order = np.argsort([-d["score"] for d in self._dts[key]], kind="mergesort")[: self.params.maxDets[-1]]
        self._dts[key] = [self._dts[key][i] for i in order]
        self._detection_areas[key] = np.array([d["area"] for d in self._dts[key]], dtype=float)
        return super().computeIoU(imgId, catId)

    def evaluateImg(self, imgId: int, catId: int, aRng: list[float], maxDet: int) -> dict[str, Any] | None:
        """Match the detections of one class in one image, greedily by score, at every IoU threshold.

        Returns:
            The fields that `COCOeval.accumulate` reads, or None where there is neither object nor detection.
        """
        key = imgId, catId
        objects, detections, areas = self._gts[key], self._dts[key], self._detection_areas[key]
        if not objects and not detections:
            return None
        low, high = aRng
        ignored = np.array([bool(g["ignore"]) or not low <= g["area"] <= high for g in objects], dtype=bool)
        order = np.argsort(ignored, kind="mergesort")
        objects, ignored = [objects[i] for i in order], ignored[order]
        matches = np.full((len(self.params.iouThrs), len(detections)), -1)
        if objects and detections:
            self._match(self.ious[key][:, order], objects, ignored.tolist(), matches)
        # COCOeval keeps the id of the matched object and reads 0 as "no match", even if 0 is an id.
        matched_ids = np.append([g["id"] for g in objects], 0)[matches]
        matched_ignored = np.append(ignored, False)[matches]
        return {
            "dtScores": [d["score"] for d in detections],
            "dtMatches": matched_ids,
            "dtIgnore": matched_ignored | ((matched_ids == 0) & ((areas < low) | (areas > high))),
            "gtIgnore": ignored,
        }

    def _match(self, ious: np.ndarray, objects: list[dict[str, Any]], ignored: list[bool], matches: np.ndarray) -> None:
        """Write into `matches` (thresholds, detections) the index of the object that each detection takes."""
        crowd = [bool(g["iscrowd"]) for g in objects]
        best_possible, rows = ious.max(axis=1), ious.tolist()
        for t, threshold in enumerate(np.minimum(self.params.iouThrs, _MAX_THRESHOLD)):
            taken = [False] * len(objects)
            for d in np.flatnonzero(best_possible >= threshold):
                best, match = threshold, -1
                for g, iou in enumerate(rows[d]):
                    if taken[g] and not crowd[g]:
                        continue
                    if match > -1 and ignored[g] and not ignored[match]:
                        break  # Ignored objects come last: one that counts is preferred to any of them.
                    if iou >= best:
                        best, match = iou, g
                if match > -1:
                    matches[t, d] = match
                    taken[match] = True
