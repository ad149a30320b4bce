"""A training by hidden patches, from the options to the checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from moat_det.data.images.intensity import Intensity
from moat_det.data.loader.loader import default_workers
from moat_det.detector.build import find_config
from moat_det.detector.config import parse_config
from moat_det.detector.peers import is_peer
from moat_det.engine.device import choose_device
from moat_det.errors import UserError
from moat_det.pretraining.checkpoint import BackboneCheckpoint, load_backbone_checkpoint
from moat_det.pretraining.loop import Loop, seed_all
from moat_det.pretraining.masked.options import MaskedOptions
from moat_det.pretraining.masked.pictures import find_pictures
from moat_det.pretraining.masked.task import NAME, MaskedTask
from moat_det.pretraining.options import LoopOptions, RunPlace
from moat_det.run_folder import tell_results


def pretrain(options: MaskedOptions, loop: LoopOptions, place: RunPlace, resumed: Path | None = None) -> Path:
    """Train a backbone on pictures without labels.

    Args:
        options: What learns from which pictures.
        loop: How.
        place: Where.
        resumed: The `last.pt` of a run to go on with, by whose options `options` and `loop` are replaced.

    Returns:
        The checkpoint, from which `moat train --weights` starts a detector.

    Raises:
        UserError: The pictures, the backbone or an option are not in order.
    """
    checkpoint = None if resumed is None else _unfinished(resumed)
    if checkpoint is not None and checkpoint.training is not None:
        loop = LoopOptions(**checkpoint.training["options"])
        options = MaskedOptions(**{key: value for key, value in checkpoint.settings.items() if key != "pictures"})
        options = replace(options, weights=None)
    if options.source is None:
        raise UserError("moat pretrain needs --source: a folder of pictures, which need no labels")
    device = choose_device(place.device)
    intensity = Intensity.parse(options.intensity, "--intensity")
    if checkpoint is not None:
        intensity = Intensity.from_dict(checkpoint.intensity)
    pictures = find_pictures(options.source, options.channels, intensity, options.imgsz)
    if checkpoint is not None and len(pictures.paths) != checkpoint.settings["pictures"]:
        raise UserError(
            f"--resume {resumed}: {options.source} holds {len(pictures.paths)} readable pictures, and held "
            f"{checkpoint.settings['pictures']} when the run began: bring them back, or start a new run with "
            f"--weights {resumed}"
        )
    tell_results(place.project, options.source, pictures.paths)
    backbone = checkpoint.backbone if checkpoint is not None else _backbone(options.backbone)
    workers = default_workers(device) if place.workers is None else place.workers
    seed_all(loop.seed)
    task = MaskedTask(backbone, pictures, options, loop, workers)
    run = Loop(task, loop, place, device, None if resumed is None or checkpoint is None else (resumed, checkpoint))
    task.folder = run.folder
    run.run()
    _settle(task, run, device)
    return run.last


def _backbone(name: str) -> dict[str, Any]:
    mapping = find_config(name)
    if is_peer(mapping):
        raise UserError(f"--backbone {name}: is one of the engine's models, which have no backbone of their own")
    return dict(parse_config(mapping, name).backbone)


def _unfinished(path: Path) -> BackboneCheckpoint:
    checkpoint = load_backbone_checkpoint(path, NAME)
    if checkpoint.training is None:
        raise UserError(f"{path} is of a finished training: start a new one from it with --weights {path}")
    return checkpoint


def _settle(task: MaskedTask, run: Loop, device: Any) -> None:
    """Let the finished checkpoints hold the statistics of whole pictures."""
    done = load_backbone_checkpoint(run.last, NAME)
    task.model.load_state_dict(done.weights)
    task.settle(device)
    for path in (run.last, run.best):
        replace(done, weights=task.model.state_dict()).save(path)
