"""Training a classifier, from the options to the files."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from moat_det.engine.device import choose_one_device
from moat_det.errors import UserError
from moat_det.files import atomic_write_json
from moat_det.pretraining.checkpoint import BackboneCheckpoint, load_unfinished
from moat_det.pretraining.classification.augment import AugmentationOptions
from moat_det.pretraining.classification.folders import ClassData, find_classes
from moat_det.pretraining.classification.options import ClassifierOptions
from moat_det.pretraining.classification.task import NAME, ClassificationTask
from moat_det.pretraining.loop import Loop
from moat_det.pretraining.options import LoopOptions, RunPlace

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassifierTraining:
    """All that shapes a training, beside where it happens."""

    classifier: ClassifierOptions
    augmentation: AugmentationOptions = field(default_factory=AugmentationOptions)
    loop: LoopOptions = field(default_factory=LoopOptions)


def train_classifier(training: ClassifierTraining, place: RunPlace) -> Path:
    """Train a classifier, and measure the best epoch.

    Returns:
        The folder of the run: `weights/best.pt`, `weights/last.pt`, `results.csv`, `options.json`, `metrics.json`,
        `confusion_matrix.png`.

    Raises:
        UserError: An option or the data is not in order.
    """
    options, device = training.classifier, choose_one_device(place.device)
    data = find_classes(options.data, options.split, training.loop.seed)
    task = ClassificationTask(data, options, training.augmentation, training.loop, place)
    task.training = {**asdict(training), "classifier": _kept(options), "data": data.identity()}
    run = Loop(task, training.loop, place, device)
    atomic_write_json(run.folder / "options.json", task.training, indent=2)
    return _run(run)


def resume_classifier(last: Path, place: RunPlace, data: str | None = None) -> Path:
    """Go on with a training, from its `last.pt`.

    Args:
        last: The file.
        place: The device and the like.
        data: Where the pictures are now, if they have moved.

    Returns:
        The folder of the run.

    Raises:
        UserError: It is none, its training has ended, or its pictures are others than before.
    """
    device = choose_one_device(place.device)
    checkpoint, kept = load_unfinished(last, NAME)
    options = ClassifierOptions(**{**kept["classifier"], **({"data": data} if data else {})})
    loop = LoopOptions(**kept["loop"])
    found = find_classes(options.data, options.split, loop.seed)
    _check_same(found, kept["data"], checkpoint, options.data)
    task = ClassificationTask(found, options, AugmentationOptions(**kept["augmentation"]), loop, place, starts=False)
    task.training = {**kept, "classifier": _kept(options)}
    return _run(Loop(task, loop, place, device, (last, checkpoint)))


def _kept(options: ClassifierOptions) -> dict[str, Any]:
    """Give the options for a run that goes on, which may be from another working folder."""
    return {**asdict(options), "data": os.path.abspath(options.data)}


def _check_same(data: ClassData, identity: dict[str, Any], checkpoint: BackboneCheckpoint, source: str) -> None:
    if data.names != checkpoint.settings["names"] or data.identity() != identity:
        raise UserError(f"{source}: its pictures are others than those the run to resume was started with")


def _run(run: Loop) -> Path:
    run.run()
    logger.info(f"written to {run.folder}; a detector starts from it with --weights {run.best}")
    return run.folder
