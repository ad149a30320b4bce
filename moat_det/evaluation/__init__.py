"""COCO mAP and its files. Needs neither the engine nor torch; the plots, which need matplotlib, are apart."""

from __future__ import annotations

from moat_det.evaluation.annotations import load_annotations
from moat_det.evaluation.coco import LEAST_SCORE, STATS, CocoEvaluator, CocoMetrics
from moat_det.evaluation.confusion import confusion_matrix
from moat_det.evaluation.ground_truth import coco_ground_truth, number_categories, number_images
from moat_det.evaluation.report import metrics_table, write_results

__all__ = [
    "LEAST_SCORE",
    "STATS",
    "CocoEvaluator",
    "CocoMetrics",
    "coco_ground_truth",
    "confusion_matrix",
    "load_annotations",
    "metrics_table",
    "number_categories",
    "number_images",
    "write_results",
]
