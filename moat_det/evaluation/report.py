"""The evaluation's results as a table for the terminal and as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from moat_det.evaluation.coco import STATS, CocoEvaluator, CocoMetrics
from moat_det.files import atomic_write_json


def metrics_table(metrics: CocoMetrics) -> str:
    """Give the twelve COCO numbers and a row per class as aligned plain text.

    A dash stands where there is no object to measure (-1 in the numbers). The row `all` has the means.
    """
    lines = [
        "".join(f"{name:>7}" for name in STATS),
        "".join(f"{_show(getattr(metrics, name)):>7}" for name in STATS),
    ]
    boxes = sum(row["boxes"] for row in metrics.per_class.values())
    rows = {"all": {"images": metrics.images, "boxes": boxes, "AP": metrics.AP, "AP50": metrics.AP50}}
    table = [(name, row) for part in (rows, metrics.per_class) for name, row in part.items()]
    width = max(len(name) for name, _ in [*table, ("class", {})])
    lines += ["", f"{'class':<{width}}{'images':>9}{'boxes':>9}{'AP':>8}{'AP50':>8}"]
    for name, row in table:
        lines.append(f"{name:<{width}}{row['images']:>9}{row['boxes']:>9}{_show(row['AP']):>8}{_show(row['AP50']):>8}")
    return "\n".join(lines)


def _show(value: float) -> str:
    return "-" if value < 0 else f"{value:.3f}"


def write_results(folder: Path, evaluator: CocoEvaluator, metrics: CocoMetrics, speed_ms: Mapping[str, float]) -> None:
    """Write `ground_truth.json`, `predictions.json` and `metrics.json`, each atomically.

    pycocotools gives the numbers of the last for the first two.

    Args:
        folder: The run's folder; made when it is missing.
        evaluator: The source of the ground truth and the predictions.
        metrics: What `evaluator.compute()` gave.
        speed_ms: Milliseconds per image of each step.

    Raises:
        OSError: A file cannot be written; the files of an earlier run are then whole.
        ValueError: `speed_ms` holds a number that is not finite.
    """
    atomic_write_json(folder / "ground_truth.json", evaluator.ground_truth)
    atomic_write_json(folder / "predictions.json", evaluator.predictions)
    atomic_write_json(folder / "metrics.json", metrics.to_json_dict(speed_ms), indent=2)
