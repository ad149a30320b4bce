"""A training by hidden patches, from the options to the checkpoint."""

from __future__ import annotations

from pathlib import Path

from moat_det.data.images.intensity import Intensity
from moat_det.engine.device import choose_one_device
from moat_det.errors import UserError
from moat_det.pretraining.backbone import backbone_arguments
from moat_det.pretraining.checkpoint import load_unfinished
from moat_det.pretraining.identity import identity
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
    device = choose_one_device(place.device)
    backbone = backbone_arguments(options.backbone)
    intensity = Intensity.parse(options.intensity, "--intensity")
    pictures = find_pictures(str(options.source), options.channels, intensity, options.imgsz)
    tell_results(place.project, str(options.source), pictures.paths)
    seed_all(loop.seed)
    task = MaskedTask(backbone, pictures, options, loop, place)
    return _run(task, Loop(task, loop, place, device))


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
    device = choose_one_device(place.device)
    checkpoint, kept = load_unfinished(last, NAME)
    options = MaskedOptions(**{**kept["masked"], **({"source": source} if source else {})})
    loop = LoopOptions(**kept["loop"])
    intensity = Intensity.from_dict(checkpoint.intensity)
    pictures = find_pictures(str(options.source), options.channels, intensity, options.imgsz)
    found = identity(pictures.names)
    if found["pictures"] != kept["pictures"]:
        raise UserError(
            f"--resume {last}: {options.source} holds {found['pictures']} readable pictures, and held "
            f"{kept['pictures']} when the run began: bring them back, or start a new run with --weights {last}"
        )
    if found["digest"] != kept.get("digest", found["digest"]):
        raise UserError(
            f"--resume {last}: {options.source} holds other pictures than when the run began: bring those back, or "
            f"start a new run with --weights {last}"
        )
    seed_all(loop.seed)
    task = MaskedTask(checkpoint.backbone, pictures, options, loop, place, starts=False)
    return _run(task, Loop(task, loop, place, device, (last, checkpoint)))


def _run(task: MaskedTask, loop: Loop) -> Path:
    task.folder = loop.folder
    loop.run()
    return loop.last
