"""Opening a dataset as a training or a validation does, without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ultralytics.cfg import get_cfg

from moat_det.data.augment import Preset
from moat_det.data.config import load_dataset
from moat_det.data.loader.broken import OnBroken
from moat_det.data.loader.dataset import DatasetOptions, DetectionDataset
from moat_det.data.sizes.policy import FixedSize, Rectangles, TrainingRectangles
from moat_det.data.sizes.shape import Shape


def open_dataset(
    source: Path | dict[str, Any],
    split: str = "train",
    batch: int = 4,
    *,
    imgsz: int = 64,
    shape: Shape | None = None,
    rect: bool = False,
    preset: Preset | None = None,
    on_broken: OnBroken = "refuse",
    good_parts: float | None = None,
    rare_classes: float = 0.0,
    **settings: Any,
) -> DetectionDataset:
    """Open "train" to train, another split to evaluate, in one shape, or else in squares, or else in rectangles.

    Args:
        source: The dataset YAML or its folder, or what `load_dataset` makes of it.
        split: Of the dataset.
        batch: Images in a batch.
        imgsz: The longer side.
        shape: Height and width instead of the square.
        rect: Rectangles instead of the square.
        preset: The training's.
        on_broken: What stands in for a broken image.
        good_parts: Their share in an epoch.
        rare_classes: The share of images below which a class is rare.
        **settings: Arguments of the engine.
    """
    data = source if isinstance(source, dict) else load_dataset(source)
    args = get_cfg(overrides=settings)
    training = split == "train"
    rectangles = TrainingRectangles if training else Rectangles
    sizes = rectangles(imgsz) if rect and shape is None else FixedSize(shape or (imgsz, imgsz))
    hyp = args if training else None
    options = DatasetOptions.of(args, batch, on_broken, good_parts=good_parts, rare_classes=rare_classes)
    return DetectionDataset(data, split, sizes, options, hyp, preset)
