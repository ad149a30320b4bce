"""From a checkpoint to what is exported of it: its size, its windows, the images that the file is compared on."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

from ultralytics.utils import DEFAULT_CFG

from moat_det.backbones.windows import parse_windows, read_window
from moat_det.data.config import check_channels, load_dataset, reading, split_paths
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.data.index import open_index
from moat_det.data.of_model import other_classes
from moat_det.data.sizes.shape import Shape, round_up
from moat_det.demo import DEMO, dataset_source
from moat_det.detection.thresholds import CONF
from moat_det.detector.base import BaseDetector
from moat_det.detector.peers import TransformerPeer
from moat_det.engine.trained import Trained
from moat_det.engine.window_chooser import WindowChooser
from moat_det.errors import UserError
from moat_det.export import Exported, ExportOptions, export_model
from moat_det.export.evidence import Evidence
from moat_det.export.options import EXACT_IMAGES, JUDGED_IMAGES
from moat_det.export.subject import Subject
from moat_det.files import sha256
from moat_det.runtime.metadata import LEAST_SIDE


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
    return export_model(subject, options, folder.expanduser(), _evidence(options, model))


def _subject(model: BaseDetector, trained: Trained, weights: Path, options: ExportOptions) -> Subject:
    if isinstance(model, TransformerPeer):
        raise UserError(
            f"--weights {weights}: an RT-DETR cannot be exported, as its decoder gives no box for each cell; detect "
            "with the checkpoint itself, or train another model"
        )
    stride = max(int(model.stride.max()), 32)
    trained_size = trained.size or (640, 640)
    sides = options.imgsz or list(trained_size)
    shape = round_up((sides[0], sides[-1]), stride)
    if min(shape) < LEAST_SIDE:
        raise UserError(f"--imgsz {shape[0]} {shape[1]}: exported files take sides of {LEAST_SIDE} pixels or more")
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
        chosen_on=trained.chosen_on,
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


def _evidence(options: ExportOptions, model: BaseDetector) -> Evidence:
    """Choose the images that the file is made with and compared on, evenly from their splits."""
    exact, quantised = options.precision == "f32", options.precision == "int8"
    data: Any = load_dataset(dataset_source(options.data), split=options.split)
    check_channels(model.yaml["channels"], data)
    known, wanted = list(model.names.values()), list(data["names"].values())
    if known != wanted and not (exact and options.data == DEMO):
        reason = "" if exact else f"--precision {options.precision} is judged by AP: "
        raise UserError(
            f"{reason}{other_classes(known, wanted, options.data)}: give --data the dataset of their training"
        )
    images = _spread(data, options.split, options.images or (EXACT_IMAGES if exact else JUDGED_IMAGES))
    judged = known == wanted and any((~image.ignored).any() for image in images)
    if not judged and not exact:
        raise UserError(
            f"{options.data}: no image of its split '{options.split}' that is compared has a label, by which "
            f"--precision {options.precision} is judged: give --data with labels"
        )
    training = _spread(data, "train", options.calibration) if quantised else []
    return Evidence(images, judged, training)


def _spread(data: Any, split: str, count: int) -> list[LabelledImage]:
    """Choose as many images of a split, evenly."""
    if not (paths := split_paths(data, split)):
        raise UserError(f"{data['yaml_file']}: no split '{split}', whose images INT8 measures ranges on: add it")
    found = list(open_index(paths, data["names"], **reading(data)).images())
    step = max(len(found) / count, 1)
    return [found[int(number * step)] for number in range(min(count, len(found)))]
