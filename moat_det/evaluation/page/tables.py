"""The tables of a validation's report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from moat_det.evaluation.inspection.rule import Rule
from moat_det.evaluation.page.gallery import TITLES
from moat_det.report.html import Table

_SETTINGS = {
    "weights_file": "weights",
    "weights": "digest of the weights",
    "split": "digest of the split",
    "imgsz": "image size",
    "window": "attention window",
    "iou": "overlap of boxes that are kept (iou)",
    "max_det": "most detections of an image",
    "augment": "test-time augmentation",
    "dtype": "number format",
}


def data_table(ground_truth: Mapping[str, Any], inspection: Mapping[str, Any] | None) -> Table:
    """Say what was measured on."""
    images = ground_truth["images"]
    labels = [entry for entry in ground_truth["annotations"] if not entry.get("iscrowd")]
    sizes = [(image.get("width"), image.get("height")) for image in images]
    rows: list[tuple[str, object]] = [("images", len(images)), ("boxes", len(labels))]
    rows.append(("regions to ignore", len(ground_truth["annotations"]) - len(labels)))
    if sizes and all(isinstance(side, int | float) for size in sizes for side in size):  # a user's JSON may lack them
        low, high = min(sizes), max(sizes)
        span = "" if low == high else f" to {high[0]} x {high[1]}"
        rows.append(("width x height in pixels", f"{low[0]} x {low[1]}{span}"))
    if inspection:
        bad = inspection["defective_parts"]
        group = f", images grouped by {inspection['group']}" if inspection["group"] else ""
        rows.append(("parts", f"{inspection['parts']}{group}"))
        rows += [("defective parts", bad), ("good parts", inspection["parts"] - bad)]
    return Table("The data", [], rows)


def model_table(settings: Mapping[str, Any]) -> Table:
    """Say what was measured, and how."""
    rows: list[tuple[str, object]] = [
        (title, _shown(settings[name])) for name, title in _SETTINGS.items() if settings.get(name) is not None
    ]
    chosen = {True: "yes: its figures are too good", False: "no", None: "not known"}[settings["chosen_on_same_split"]]
    return Table("The model and its settings", [], [*rows, ("weights chosen on the same images", chosen)])


def _shown(value: object) -> object:
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value


def figures_table(inspection: Mapping[str, Any]) -> Table:
    """Give the figures with their intervals."""
    names = {
        "escape": ("escape: defective parts passed", True),
        "overkill": ("overkill: good parts rejected", True),
        "reviewed": ("parts looked at", True),
        "recall": ("boxes found", True),
        "false_alarms_per_image": ("false alarms per image", False),
        "auroc": ("AUROC, at any threshold", False),
        "overkill_at_zero_escape": ("overkill where no defective part of these passes", True),
        "ap": ("AP (IoU 0.50:0.95), at any threshold", False),
    }
    rows = []
    for name, (title, share) in names.items():
        found = inspection.get(name)
        if name == "reviewed" and found is None:  # there is no review
            continue
        cells = ["not measurable", "", ""]
        if found is not None:
            cells = [f"{found[end]:.1%}" if share else f"{found[end]:.3f}" for end in ("value", "low", "high")]
        rows.append((title, *cells))
    confidence, rule = inspection["confidence"], Rule.of_inspection(inspection)
    caption = f"At {rule}, with {confidence:.0%} intervals"
    return Table(caption, ["figure", "value", "from", "to"], rows)


def coco_table(metrics: Mapping[str, Any]) -> Table:
    """Give the twelve numbers of COCO."""
    plain = {name: value for name, value in metrics.items() if isinstance(value, float)}
    return Table("COCO's numbers", list(plain), [["-" if value < 0 else f"{value:.3f}" for value in plain.values()]])


def class_table(metrics: Mapping[str, Any], inspection: Mapping[str, Any] | None) -> Table:
    """Give AP of each class, and its recall at the threshold."""
    recalls = inspection["recall_by_class"] if inspection else {}
    rows = []
    for name, row in metrics["per_class"].items():
        figures = ["-" if row[key] < 0 else f"{row[key]:.3f}" for key in ("AP", "AP50")]
        recall = recalls.get(name, {})
        ends = ["-" if recall.get(end) is None else f"{recall[end]:.1%}" for end in ("value", "low", "high")]
        rows.append((name, row["images"], row["boxes"], *figures, *ends))
    return Table("By class", ["class", "images", "boxes", "AP", "AP50", "found", "from", "to"], rows)


def size_table(inspection: Mapping[str, Any]) -> Table:
    """Give the recall at the threshold by the size of the objects."""
    rows = []
    for row in inspection["recall_by_size"]:
        to = "" if row["to_side"] is None else f"{row['to_side']:.0f}"
        ends = ["-" if row[end] is None else f"{row[end]:.1%}" for end in ("value", "low", "high")]
        rows.append(
            (
                row["name"],
                f"{row['from_side']:.0f} to {to}" if to else f"from {row['from_side']:.0f}",
                row["objects"],
                *ends,
            )
        )
    return Table("By size, the root of a box's area", ["size", "pixels", "boxes", "found", "from", "to"], rows)


def error_table(errors: Mapping[str, Any]) -> Table:
    """Give the number of errors of each kind, and the AP that each costs."""
    costs = errors["ap_lost"]
    rows: list[tuple[str, object, str]] = []
    for kind, counts in errors["counts"].items():
        what = kind.replace("_", " ")
        rows += [
            (f"{what}: {TITLES[name]}", count, _cost(costs.get(name)) if kind == "false_alarm" else "")
            for name, count in counts.items()
        ]
    rows += [(name.replace("_", " "), "", _cost(cost)) for name, cost in costs.items() if name not in TITLES]
    return Table(
        f"Errors at {Rule.of_inspection(errors)}; AP50 that is won where a kind is mended",
        ["kind", "number", "AP50 lost"],
        rows,
    )


def _cost(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else ""


def shaded(matrix: np.ndarray) -> Iterator[list[tuple[int, str]]]:
    """Give the cells of a confusion matrix: the number, and a style by its share of the column."""
    columns = np.maximum(matrix.sum(axis=0), 1)
    for row in matrix:
        shares = row / columns
        yield [
            (int(count), f"background:rgba(0,114,178,{share:.2f});color:{'#fff' if share > 0.6 else '#1b1f24'}")
            for count, share in zip(row, shares, strict=True)
        ]
