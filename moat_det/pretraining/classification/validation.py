"""Running a classifier over pictures whose classes are known, and what is written of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from moat_det.errors import UserError
from moat_det.evaluation.plots import plot_class_confusion
from moat_det.files import atomic_write_json
from moat_det.pretraining.batches import load_batches, ordered_batches
from moat_det.pretraining.classification.dataset import PictureDataset, collate
from moat_det.pretraining.classification.metrics import ClassMetrics, measure
from moat_det.progress import progress

logger = logging.getLogger(__name__)


def validate(model: nn.Module, dataset: PictureDataset, batch: int, workers: int, device: torch.device) -> ClassMetrics:
    """Measure a classifier, in evaluation mode and on its device.

    Raises:
        UserError: Not one picture could be read.
    """
    scores, classes = [], []
    drawn = ordered_batches([(0, number) for number in range(len(dataset))], batch)
    loader = load_batches(dataset, drawn, workers, device, collate)
    for images, labels in progress(loader, total=len(drawn), text="validating", unit="batch", leave=False):
        if len(images):
            with torch.inference_mode():
                scores.append(model(images.to(device)).float().cpu().numpy())
            classes.append(labels.numpy())
    if not scores:
        raise UserError(f"none of the {len(dataset)} pictures of the validation can be read")
    metrics = measure(np.concatenate(scores), np.concatenate(classes))
    if metrics.unscored:
        logger.warning(
            f"the scores of {metrics.unscored} of {metrics.images} pictures are no numbers, which count as wrong: "
            "train with a lower --lr0, or with --amp false"
        )
    return metrics


def write_validation(folder: Path, metrics: ClassMetrics, names: Sequence[str]) -> None:
    """Write `metrics.json` and `confusion_matrix.png`."""
    atomic_write_json(folder / "metrics.json", metrics.to_dict(names), indent=2)
    plot_class_confusion(folder / "confusion_matrix.png", metrics.confusion, names)


def table(metrics: ClassMetrics, names: Sequence[str]) -> str:
    """Give the lines that the terminal shows."""
    width = max(8, *(len(name) for name in names))
    rows = [f"{'class':<{width}}  pictures  recall  precision"]
    for name, row in metrics.per_class(names).items():
        shares = ("-" if row[key] is None else f"{row[key]:.3f}" for key in ("recall", "precision"))
        rows.append(f"{name:<{width}}  {row['images']:8d}  {next(shares):>6}  {next(shares):>9}")
    return "\n".join([*rows, f"{metrics.images} pictures: top-1 {metrics.top1:.4f}, top-5 {metrics.top5:.4f}"])
