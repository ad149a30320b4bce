"""A training by hidden patches, from the options to the checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from moat_det.data.images.intensity import Intensity
from moat_det.data.loader.loader import default_workers
from moat_det.detector.build import find_config
from moat_det.detector.config import parse_config
from moat_det.detector.peers import is_peer
from moat_det.engine.device import choose_device
from moat_det.errors import UserError
from moat_det.pretraining.checkpoint import load_backbone_checkpoint
from moat_det.pretraining.loop import Loop, seed_all
from moat_det.pretraining.masked.options import MaskedOptions
from moat_det.pretraining.masked.pictures import find_pictures
from moat_det.pretraining.masked.task import NAME, MaskedTask
from moat_det.pretraining.options import LoopOptions, RunPlace
from moat_det.run_folder import tell_results


def pretrain(options: MaskedOptions, loop: LoopOptions, place: RunPlace) -> Path:
    """Train a backbone on pictures without labels.

    Args:
        options: What learns from which pictures.
        loop: How.
        place: Where.

    Returns:
        The checkpoint, from which `moat train --weights` starts a detector.

    Raises:
        UserError: The pictures, the backbone or an option are not in order.
    """
    backbone, device = _backbone(options.backbone), choose_device(place.device or "")
    intensity = Intensity.parse(options.intensity, "--intensity")
    pictures = find_pictures(str(options.source), options.channels, intensity, options.imgsz)
    tell_results(place.project, str(options.source), pictures.paths)
    seed_all(loop.seed)
    task = MaskedTask(backbone, pictures, options, loop, _workers(place, device))
    return _run(task, Loop(task, loop, place, device), device)


def resume_pretraining(last: Path, place: RunPlace, source: str | None = None) -> Path:
    """Go on with a training, bit for bit as if it had never been cut.

    Args:
        last: The run's `last.pt`.
        place: The device and the like.
        source: Where the pictures are now, if they have moved.

    Returns:
        The checkpoint.

    Raises:
        UserError: It is none, its training has ended, or its pictures are not there any more.
    """
    checkpoint = load_backbone_checkpoint(last, NAME)
    if checkpoint.training is None:
        raise UserError(f"{last} is of a finished training: start a new one from it with --weights {last}")
    kept = checkpoint.training["task"]
    options = MaskedOptions(**{**kept["masked"], **({"source": source} if source else {})})
    loop, device = LoopOptions(**kept["loop"]), choose_device(place.device or "")
    intensity = Intensity.from_dict(checkpoint.intensity)
    pictures = find_pictures(str(options.source), options.channels, intensity, options.imgsz)
    if len(pictures.paths) != kept["pictures"]:
        raise UserError(
            f"--resume {last}: {options.source} holds {len(pictures.paths)} readable pictures, and held "
            f"{kept['pictures']} when the run began: bring them back, or start a new run with --weights {last}"
        )
    task = MaskedTask(checkpoint.backbone, pictures, options, loop, _workers(place, device), starts=False)
    return _run(task, Loop(task, loop, place, device, (last, checkpoint)), device)


def _run(task: MaskedTask, loop: Loop, device: torch.device) -> Path:
    task.folder = loop.folder
    loop.run()
    done = load_backbone_checkpoint(loop.last, NAME)
    task.model.load_state_dict(done.weights)
    task.settle(device)
    for path in (loop.last, loop.best):
        replace(done, weights=task.model.state_dict()).save(path)
    return loop.last


def _workers(place: RunPlace, device: torch.device) -> int:
    return default_workers(device) if place.workers is None else place.workers


def _backbone(name: str) -> dict[str, Any]:
    mapping = find_config(name)
    if is_peer(mapping):
        raise UserError(f"--backbone {name}: is one of the engine's models, which have no backbone of their own")
    return dict(parse_config(mapping, name).backbone)
