"""The files that a validation leaves, and what the terminal says of it: whatever detected."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path

from moat_det.data.images.intensity import Intensity
from moat_det.evaluation.coco import CocoEvaluator, CocoMetrics
from moat_det.evaluation.confusion import confusion_matrix
from moat_det.evaluation.drift.appearance import APPEARANCE
from moat_det.evaluation.inspection.describe import describe
from moat_det.evaluation.inspection.find_operating_point import find_operating_point
from moat_det.evaluation.inspection.inspection import INSPECTION, Inspection, inspect
from moat_det.evaluation.inspection.operating_point import OPERATING_POINT, OperatingPoint
from moat_det.evaluation.inspection.rule import THRESHOLD, Rule
from moat_det.evaluation.inspection.settings import SETTINGS, Settings
from moat_det.evaluation.inspection.summary import summary
from moat_det.evaluation.options import MeasuringOptions
from moat_det.evaluation.report import metrics_table, write_results
from moat_det.evaluation.validation_folder import BATCHES, CONFUSION, ERRORS, PLOTS, PRECISION_RECALL, REPORT
from moat_det.files import atomic_write_json

logger = logging.getLogger(__name__)


def write_validation(
    folder: Path,
    evaluator: CocoEvaluator,
    metrics: CocoMetrics,
    speed_ms: Mapping[str, float],
    options: MeasuringOptions,
    settings: Settings,
    appearances: Mapping[str, tuple[float, float]],
    *,
    plots: bool,
    batches: int = 0,
    channels: int = 3,
) -> tuple[Inspection, OperatingPoint | None]:
    """Write what is due at the end.

    Args:
        folder: Of the run.
        evaluator: Has the ground truth and all detections.
        metrics: The figures that it computed.
        speed_ms: Milliseconds per image of each step.
        options: What is asked for beside the figures.
        settings: What was measured with.
        appearances: How bright and sharp each image was, by its file.
        plots: Whether plots are drawn, which needs matplotlib.
        batches: Of how many the pictures, as far as `BATCHES` names them, have been drawn.
        channels: Of the images.

    Returns:
        What an inspector asks, and the operating point, where one was asked for; the first holds at the thresholds of
        the second, where there are any.
    """
    is_former = (folder / SETTINGS).exists()
    write_results(folder, evaluator, metrics, speed_ms)
    atomic_write_json(folder / SETTINGS, asdict(settings), indent=2)
    _write_appearance(folder, evaluator, appearances)
    truth, found, group = evaluator.ground_truth, evaluator.predictions, options.group
    point = None
    if options.target is not None:
        point = find_operating_point(truth, found, options, settings, group)
    rule = (point and Rule.of_point(point)) or Rule(max(THRESHOLD, settings.conf))
    inspection = inspect(truth, found, group=group, rule=rule)
    if is_former:
        unwritten = [OPERATING_POINT] * (point is None) + [REPORT, ERRORS] * (not options.report)
        _remove_former(folder, [*(() if plots else PLOTS), *chain(*BATCHES[batches:]), *unwritten])
    atomic_write_json(folder / INSPECTION, inspection.to_json_dict(), indent=2)
    if point is not None:
        if (calibration := inspection.calibration) is not None:
            point = replace(point, temperature=calibration.temperature, bias=calibration.bias)
        point.write(folder / OPERATING_POINT)
    if options.report:
        from moat_det.evaluation.errors import write_errors
        from moat_det.evaluation.page.page import write_page

        write_errors(folder, truth, found, rule)
        paths = {evaluator.image_id(Path(image)): image for image in appearances}
        write_page(folder, paths, Intensity.from_dict(settings.intensity), channels)
    if plots:
        from moat_det.evaluation.inspection.plots import plot_inspection
        from moat_det.evaluation.plots import plot_confusion_matrix, plot_precision_recall

        # Below it a detection is not shown to anybody, so it is none here either.
        matrix, labels = confusion_matrix(evaluator, THRESHOLD), list(evaluator.labels.values())
        plot_confusion_matrix(folder / CONFUSION, matrix, labels, THRESHOLD)
        plot_precision_recall(folder / PRECISION_RECALL, metrics)
        plot_inspection(folder, inspection)
    return inspection, point


def _remove_former(folder: Path, names: Sequence[str]) -> None:
    """Remove an earlier validation's files that this one does not write: beside its own they would mislead."""
    former = [file for name in names if (file := folder / name).exists()]
    for file in former:
        file.unlink()
    if former:
        names = ", ".join(file.name for file in former)
        logger.info(f"{folder}: {names} of the earlier validation removed, which the new figures are not of")


def log_validation(
    folder: Path,
    metrics: CocoMetrics,
    speed_ms: Mapping[str, float],
    inspection: Inspection,
    point: OperatingPoint | None,
) -> None:
    """Say what was measured."""
    times = ", ".join(f"{time:.1f} ms {name}" for name, time in speed_ms.items())
    tables = f"{metrics_table(metrics)}\n\n{summary(inspection)}"
    logger.info(f"\n{tables}\n\n{times} per image\nResults in {folder}")
    if point is not None:
        logger.log(logging.WARNING if point.threshold is None else logging.INFO, "\n".join(describe(point)))


def warn_of_cuts(cut: int, seen: int, max_det: int, conf: float) -> None:
    """Say how many of the images that were seen had more detections than are kept."""
    if cut:
        logger.warning(
            f"{cut} of {seen} images had more than {max_det} detections above the score of {conf}: the best {max_det} "
            "were kept; raise --max-det to keep more"
        )


def warn_of_unreadable(unreadable: int, seen: int, annotations: str | None) -> None:
    """Say of how many images the figures are not.

    Args:
        unreadable: Images of the split that were left out.
        seen: Those that were not.
        annotations: The user's own COCO JSON, all of whose images are evaluated.
    """
    if unreadable:
        counted = (
            "the figures are of the others alone"
            if annotations is None
            else f"of those that {annotations} lists the figures say that nothing was found in them"
        )
        logger.warning(
            f"{unreadable} of {unreadable + seen} images could not be read and were not looked at: {counted}; replace "
            "them, which are named above, and validate again"
        )


def _write_appearance(folder: Path, evaluator: CocoEvaluator, appearances: Mapping[str, tuple[float, float]]) -> None:
    """Write how bright and sharp each image was, which `moat drift` compares new ones with."""
    ids = [evaluator.image_id(Path(image)) for image in appearances]
    brightness, sharpness = zip(*appearances.values(), strict=True) if appearances else ((), ())
    content = {"image_id": ids, "brightness": brightness, "sharpness": sharpness}
    atomic_write_json(folder / APPEARANCE, content)
