"""What a user may say of a validation, whatever detects."""

from __future__ import annotations

from dataclasses import dataclass

from moat_det.evaluation.inspection.targets import TargetOptions
from moat_det.options import option


@dataclass(frozen=True)
class MeasuringOptions(TargetOptions):
    """What is measured against, and what is written of it.

    Attributes:
        annotations: A COCO JSON to measure against, instead of the dataset's labels.
        group: What makes images one part, as `read_parts` takes it; None: each is one.
        report: Also sort the errors, and make a page of all.
    """

    annotations: str | None = option(None, "COCO JSON to validate against; images are matched by file name")
    group: str | None = option(
        None,
        "images with the same match in their names (its first group, else all of it) are one part, e.g. "
        "'^(board\\d+)_'",
        metavar="REGEX",
    )
    report: bool = option(
        False, "also write report.html, a page for people, and errors.json, each false alarm and each miss by its kind"
    )
