"""From a checkpoint to what is exported of it: its size, its windows, the images that the file is compared on."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

from ultralytics.utils import DEFAULT_CFG

from moat_det.backbones.windows import parse_windows, read_window
from moat_det.data.config import load_dataset, reading, split_paths
from moat_det.data.index import open_index
from moat_det.data.sizes.shape import Shape, round_up
from moat_det.demo import dataset_source
from moat_det.detection.thresholds import CONF
from moat_det.detector.base import BaseDetector
from moat_det.engine.trained import Trained
from moat_det.engine.window_chooser import WindowChooser
from moat_det.errors import UserError
from moat_det.export import Exported, ExportOptions, export_model
from moat_det.export.export import Subject
from moat_det.runtime.digests import sha256

_LEAST_SIDE = 64  # of which the coarsest map has two cells a side


def export_checkpoint(model: BaseDetector, trained: Trained, weights: Path, options: ExportOptions) -> Exported:
    """Export the model of a checkpoint.

    Args:
        model: As it was loaded; not changed.
        trained: What it was trained on.
        weights: The checkpoint.
        options: What to write.

    Raises:
        UserError: The options are at odds with the model, the dataset is not in order, or the file does not agree with
            the checkpoint.
    """
    folder = Path(options.out) if options.out else weights.with_name(f"{weights.stem}_{options.format}")
    subject = _subject(model, trained, weights, options)
    return export_model(subject, options, folder.expanduser(), _images(options, model.yaml["channels"]))


def _subject(model: BaseDetector, trained: Trained, weights: Path, options: ExportOptions) -> Subject:
    stride = max(int(model.stride.max()), 32)
    trained_size = trained.size or (640, 640)
    sides = options.imgsz or list(trained_size)
    shape = round_up((sides[0], sides[-1]), stride)
    if min(shape) < _LEAST_SIDE:
        raise UserError(f"--imgsz {shape[0]} {shape[1]}: exported files take sides of {_LEAST_SIDE} pixels or more")
    if options.dynamic and options.format == "torchscript":
        raise UserError("--dynamic: torchscript files are traced at one size; take --format onnx or openvino")
    model = deepcopy(model)
    window = None if options.window is None else read_window(options.window)
    chooser = WindowChooser(model, trained.size, window, options.position)
    chooser.set(*shape)
    largest: Shape | None = None
    cells: tuple[Shape | None, ...] = ()
    if model.windowed is not None and options.dynamic:
        largest, cells = _one_policy(model, trained, chooser, options)
    policy = {} if model.windowed is None else {"window": chooser.window, "position": options.position or "stretch"}
    return Subject(
        model=model,
        name=weights.stem,
        weights={"file": weights.name, "sha256": sha256(weights)},
        shape=None if options.dynamic else shape,
        imgsz=max(shape),
        largest=largest,
        window=policy,
        cells=cells,
        intensity=trained.intensity,
        conf=CONF,
        iou=float(DEFAULT_CFG.iou),
        max_det=int(DEFAULT_CFG.max_det),
    )


def _one_policy(
    model: BaseDetector, trained: Trained, chooser: WindowChooser, options: ExportOptions
) -> tuple[Shape | None, tuple[Shape | None, ...]]:
    """Check that one policy of windows holds for inputs of all sizes; give the largest input, and the fixed windows."""
    windows = parse_windows(chooser.window or "full", trained.size)
    cells = tuple(window if isinstance(window, tuple) else None for window in windows)
    if any(window is not None and not isinstance(window, tuple) for window in windows):
        raise UserError(
            f"--dynamic: windows by the policy {chooser.window} follow from each image's size, which a file cannot "
            "choose by: give --window full, or a window's size, as in --window 14"
        )
    follows_training = options.window is None and windows == (None, None)
    return (trained.size if follows_training else None), cells


def _images(options: ExportOptions, channels: int) -> list[Path]:
    """Choose the images that the file is compared on, evenly from the split."""
    data: Any = load_dataset(dataset_source(options.data), split=options.split)
    index = open_index(split_paths(data, options.split), data["names"], **reading(data))
    step = max(len(index.paths) / options.images, 1)
    chosen = [Path(index.paths[int(i * step)]) for i in range(min(options.images, len(index.paths)))]
    if not chosen:
        raise UserError(f"{options.data}: its split '{options.split}' holds no image to compare the file on")
    return chosen
