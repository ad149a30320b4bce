"""`report.html`: the page of a validation, made of what lies in its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from moat_det.data.images.intensity import Intensity
from moat_det.evaluation.confusion import confusion_matrix
from moat_det.evaluation.inspection.box_matches import match_boxes
from moat_det.evaluation.inspection.describe import describe
from moat_det.evaluation.inspection.froc import gather
from moat_det.evaluation.inspection.inspection import INSPECTION, IOU
from moat_det.evaluation.inspection.operating_point import OPERATING_POINT, read_operating_point
from moat_det.evaluation.inspection.parts import read_parts
from moat_det.evaluation.inspection.recall import class_labels
from moat_det.evaluation.inspection.rule import Rule
from moat_det.evaluation.inspection.settings import SETTINGS
from moat_det.evaluation.page import tables
from moat_det.evaluation.page.gallery import Gallery
from moat_det.evaluation.page.plots import plots
from moat_det.evaluation.page.slider import slider_data, start
from moat_det.evaluation.validation_folder import ERRORS, REPORT, read_json, read_validation
from moat_det.files import atomic_write_text
from moat_det.report.html import render


class _Measured(NamedTuple):
    """What a confusion matrix is made of."""

    ground_truth: dict[str, Any]
    predictions: Sequence[Mapping[str, Any]]
    labels: dict[int, str]


def write_page(folder: Path, paths: Mapping[int, str], intensity: Intensity, channels: int = 3) -> Path:
    """Write the page of a validation into its folder, atomically.

    Of `metrics.json`, `inspection.json`, `operating_point.json`, `errors.json` and `settings.json`, one that is absent
    leaves its part out, and the page says so.

    Args:
        folder: Of the validation.
        paths: Image id to file, for the pictures; those that cannot be read are left out.
        intensity: How more than 8 bits become 8 in the pictures.
        channels: Of the images.

    Returns:
        The page's file.

    Raises:
        UserError: It is no folder of a validation, or a file of it is damaged.
        OSError: The page cannot be written.
    """
    run = read_validation(folder)
    names = (INSPECTION, OPERATING_POINT, ERRORS, SETTINGS, "metrics.json")
    inspection, point, errors, settings, metrics = (
        read_json(folder / name, folder) if (folder / name).exists() else None for name in names
    )
    labels = class_labels(run.ground_truth)
    rule = replace(Rule.of_inspection(inspection or {}), review=None)  # below it nothing is shown
    counted = rule.counted(run.ground_truth, run.predictions)
    matrix = confusion_matrix(_Measured(run.ground_truth, counted, labels), rule.threshold)
    gallery = Gallery(paths, run.ground_truth, counted, rule.threshold, intensity, channels)
    content: dict[str, Any] = {
        "title": f"Validation {folder.resolve().name}",
        "first": _first(inspection, settings, errors),
        "point": describe(read_operating_point(folder / OPERATING_POINT)) if point else [],
        "data": tables.data_table(run.ground_truth, inspection),
        "model": tables.model_table(settings) if settings else None,
        "figures": tables.figures_table(inspection) if inspection else None,
        "coco": tables.coco_table(metrics) if metrics else None,
        "classes": tables.class_table(metrics, inspection) if metrics else None,
        "sizes": tables.size_table(inspection) if inspection else None,
        "matrix_names": [*labels.values(), "background"],
        "matrix": list(tables.shaded(np.asarray(matrix))),
        "rule": str(rule),
        "errors": tables.error_table(errors) if errors else None,
        "error_count": len(errors["errors"]) if errors else 0,
        "error_pictures": gallery.errors(errors["errors"]) if errors else [],
        "label_pictures": gallery.suspicious(errors["suspicious_labels"]) if errors else [],
        "label_count": len(errors["suspicious_labels"]) if errors else 0,
        "absent": [name for name in names if name != OPERATING_POINT and not (folder / name).exists()],
        "plots": [],
        "slider": None,
        "by_class": bool(inspection and inspection.get("per_class")),
    }
    if inspection:
        parts = read_parts(run.ground_truth, run.predictions, inspection["group"])
        matches = match_boxes(run.ground_truth, run.predictions, np.array([IOU]), max_detections=None)
        content["plots"] = list(plots(inspection, parts, matches, labels))
        reject, review = start(inspection, point)
        content["slider"] = slider_data(parts, gather(matches), reject, review, inspection["confidence"])
    file = folder / REPORT
    atomic_write_text(file, render(Path(__file__).with_name("validation.html"), **content))
    return file


def _first(
    inspection: Mapping[str, Any] | None, settings: Mapping[str, Any] | None, errors: Mapping[str, Any] | None
) -> list[str]:
    """Say what to know before all figures."""
    lines = []
    if settings and settings["chosen_on_same_split"]:
        lines.append("The weights were chosen on these very images: the figures are too good. Measure on a test split.")
    if inspection and inspection["defective_parts"] == inspection["parts"]:
        lines.append("There is no good part in the split: overkill and AUROC cannot be measured. Add good parts.")
    if inspection and not inspection["defective_parts"]:
        lines.append("There is no defective part in the split: escape and AUROC cannot be measured.")
    if errors and (count := len(errors["suspicious_labels"])):
        lines.append(f"{count} labels are suspicious: look at the first ones below before you trust the figures.")
    return lines
