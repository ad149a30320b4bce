"""COCO mAP, its pictures and its files. Needs neither the engine nor torch."""

from __future__ import annotations

from moat_det.evaluation.annotations import load_annotations
from moat_det.evaluation.coco import STATS, CocoEvaluator, CocoMetrics
from moat_det.evaluation.confusion import confusion_matrix
from moat_det.evaluation.ground_truth import coco_ground_truth, number_categories, number_images
from moat_det.evaluation.plots import plot_confusion_matrix, plot_precision_recall
from moat_det.evaluation.report import metrics_table, write_results

__all__ = [
    "STATS",
    "CocoEvaluator",
    "CocoMetrics",
    "coco_ground_truth",
    "confusion_matrix",
    "load_annotations",
    "metrics_table",
    "number_categories",
    "number_images",
    "plot_confusion_matrix",
    "plot_precision_recall",
    "write_results",
]
