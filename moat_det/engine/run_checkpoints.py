"""The checkpoints of a training: written after each epoch, resumed, gone back to, and made fit for use at the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from ultralytics.cfg import DEFAULT_CFG, get_cfg
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.utils.torch_utils import ModelEMA, unwrap_model

from moat_det.data.config import DatasetConfig, load_dataset
from moat_det.data.sizes.imgsz import take_shape
from moat_det.demo import DEMO, dataset_source
from moat_det.engine.checkpoint import Checkpoint, load_checkpoint, newest_run
from moat_det.engine.device import choose_device, is_mixed
from moat_det.engine.recovery.disk import longest_wait, when_there_is_room
from moat_det.engine.train_options import TrainOptions
from moat_det.errors import UserError
from moat_det.files import atomic_write_text
from moat_det.run_folder import folder_of

logger = logging.getLogger(__name__)

# What may change when a run goes on: where its data lies, where and how it runs.
_RESUMABLE = {"data", "device", "workers", "cache", "patience", "save_period", "plots", "val", "time", "verbose"}

RESUMABLE_OPTIONS = {"sync_bn"}
"""The same of our own options: another number of processes asks for it."""


def save_epoch(trainer: BaseTrainer, options: TrainOptions, longest: float) -> None:
    """Write `last.pt`, `best.pt` when this epoch is the best, and `epochN.pt` when asked for.

    Args:
        trainer: At the end of an epoch.
        options: Our own of the training.
        longest: Seconds to wait for room on a full disk, for all of them together.

    Raises:
        OSError: They cannot be written; what stood there still does.
    """
    checkpoint, until = _checkpoint(trainer, options, trainer.epoch, {}, trainer.stop), time.monotonic() + longest
    if trainer.best_fitness == trainer.fitness:
        _write(checkpoint, trainer.best, until - time.monotonic())
    if trainer.save_period > 0 and (trainer.epoch + 1) % trainer.save_period == 0:
        _write(checkpoint, trainer.wdir / f"epoch{trainer.epoch + 1}.pt", until - time.monotonic())
    # After the others: a run that is killed in between goes on before this epoch's end, and writes them again.
    _write(checkpoint, trainer.last, until - time.monotonic())
    trainer.position.batches = 0


def save_position(trainer: BaseTrainer, options: TrainOptions, longest: float) -> None:
    """Write `last.pt` amid an epoch, so that a resumed run goes on with the next batch.

    Args:
        trainer: Between two batches, or at the end of an epoch before its validation is done.
        options: Our own of the training.
        longest: Seconds to wait for room on a full disk.

    Raises:
        OSError: It cannot be written; what stood there still does.
    """
    position = trainer.position.state(trainer.tloss, trainer.batch_size)
    _write(_checkpoint(trainer, options, trainer.epoch - 1, position), trainer.last, longest)


def _write(checkpoint: Checkpoint, path: Path, longest: float) -> None:
    when_there_is_room(lambda: checkpoint.save(path), path.parent, checkpoint.size, longest)


def _checkpoint(
    trainer: BaseTrainer, options: TrainOptions, epoch: int, position: dict[str, Any], ended: bool = False
) -> Checkpoint:
    """Give the state of a training.

    Args:
        trainer: The training.
        options: Our own of it.
        epoch: The last one that is whole, from 0; -1 before there is any.
        position: How far the next one is.
        ended: Whether there is no next one.
    """
    model, averaged = unwrap_model(trainer.model), trainer.ema.ema
    _mend_average(averaged, model)
    for own, kept in zip(model.buffers(), averaged.buffers(), strict=True):
        if not own.is_floating_point():  # how many batches a norm has seen, which the engine's average leaves at 0
            kept.copy_(own)
    return Checkpoint(
        config=options.config,
        names=dict(model.names),
        weights=averaged.state_dict(),
        args={**vars(trainer.args), "amp": options.mixed, "imgsz": options.shape or trainer.args.imgsz},
        metrics={**trainer.metrics, "fitness": trainer.fitness},
        training={
            "epoch": epoch,
            "position": position,
            "ended": ended,
            "seconds": time.time() - trainer.train_time_start,
            "processes": trainer.group.size,
            "options": options.to_resume(),
            "data": trainer.data_identity,
            "weights": model.state_dict(),
            "updates": trainer.ema.updates,
            "optimizer": trainer.optimizer.state_dict(),
            "accumulation": trainer.accumulation.state(model),
            "steps": trainer.sound_steps.state(),
            "best_fitness": trainer.best_fitness,
            "stopper": {
                "best_fitness": trainer.stopper.best_fitness,
                "best_epoch": trainer.stopper.best_epoch,
            },
        },
        channels=trainer.data["channels"],
        intensity=trainer.data["intensity"].to_dict(),
        chosen_on=trainer.chosen_on,
    )


def find_resumable(args: Any) -> Path:
    """Give the checkpoint that `resume` of the engine's arguments names, or for True the newest below `project`.

    Raises:
        UserError: There is none, or it is none of a run that goes on.
    """
    path = Path(args.resume) if isinstance(args.resume, (str, Path)) else newest_run(Path(args.project))
    _load(path)
    return path


def _load(path: Path) -> Checkpoint:
    checkpoint = load_checkpoint(path)
    if checkpoint.training is None:
        raise UserError(f"{path} is of a finished training: start a new one from it with --weights {path}")
    return checkpoint


def read_run(path: Path, args: Any, overrides: Mapping[str, Any]) -> tuple[Checkpoint, Any]:
    """Read the run to resume.

    Args:
        path: The checkpoint.
        args: The engine's arguments.
        overrides: Those that the caller gave; most cannot change in a resumed run, which a warning says.

    Returns:
        The checkpoint, and the engine's arguments of the run.

    Raises:
        UserError: Its training has finished, or its data is not where it was.
    """
    checkpoint = _load(path)
    kept = {key: value for key, value in overrides.items() if key in _RESUMABLE}
    # The run's folder may have been moved since, and its data.
    folder, data = folder_of(path), _find_data(path, overrides.get("data") or checkpoint.args["data"])
    place = {"resume": str(path), "model": str(path), "save_dir": str(folder), "data": data}
    arguments = {**checkpoint.args, **kept, **place, "amp": False}
    _check_device(path, arguments["device"])
    take_shape(arguments)  # it is among our options too
    given = dict(overrides)
    project = given.pop("project", None)
    if args.resume is not True and project is not None:
        given["project"] = str(Path(project).resolve())
    _warn_of_ignored(given, {**checkpoint.args, "name": folder.name, "project": str(folder.parent)})
    return checkpoint, get_cfg(DEFAULT_CFG, arguments)


def _check_device(last: Path, device: Any) -> None:
    try:
        choose_device(device)
    except UserError as error:
        raise UserError(f"{error}; the run may go on elsewhere: --resume {last} --device cpu") from None


def lasting_source(source: str | Path, data: DatasetConfig) -> str:
    """Give what names a dataset from every working folder: its YAML, absolute, or the word for the demo set.

    Args:
        source: What the user gave.
        data: What was read there.
    """
    return str(source) if str(source) == DEMO else data["yaml_file"]


def _find_data(last: Path, data: str) -> str:
    """Give the absolute path of a run's dataset YAML, or the word for the demo set."""
    try:
        return lasting_source(data, load_dataset(dataset_source(data)))
    except UserError as error:
        raise UserError(f"{error}; if the run's data has moved, say where it is: --resume {last} --data YAML") from None


def _warn_of_ignored(given: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Say which of the arguments given beside `resume` a run does not take."""
    ignored = [
        key
        for key, value in given.items()
        if key not in {*_RESUMABLE, "resume", "save_dir", "mode", "task"} and value != own.get(key)
    ]
    if "model" in ignored and Path(given["model"]).stem == Path(str(own.get("model"))).stem:
        ignored.remove("model")
    if ignored:
        logger.warning(f"a resumed run keeps its own {', '.join(sorted(ignored))}; start a new run to change them")


def check_same_data(checkpoint: Checkpoint, identity: Mapping[str, Mapping[str, Any]], yaml_file: str) -> None:
    """Check that a run goes on with the data that it began with; a checkpoint of before says nothing of it.

    Args:
        checkpoint: To resume.
        identity: Of each split, as `SplitIndex.identity` gives it.
        yaml_file: The dataset's, for the message.

    Raises:
        UserError: Images or labels are others.
    """
    assert checkpoint.training is not None
    for split, before in checkpoint.training.get("data", {}).items():
        now = identity[split]
        if now == before:
            continue
        counts = [f"{which['images']} images and {which['boxes']} boxes" for which in (now, before)]
        differ = f"has {counts[0]}, the run to resume {counts[1]}"
        if counts[0] == counts[1]:
            differ = "has other labels, or images of other names or sizes, than the run to resume"
        raise UserError(
            f"{yaml_file}: '{split}' {differ}: resume with the data it was started with, or start a new training from "
            "its weights with --weights"
        )


def options_of(checkpoint: Checkpoint, changed: Mapping[str, Any]) -> TrainOptions:
    """Give our own options of the run that a checkpoint is of, but for those of `RESUMABLE_OPTIONS` that change."""
    assert checkpoint.training is not None
    options = {**checkpoint.training.get("options", {}), **changed}
    return TrainOptions(checkpoint.config, mixed=is_mixed(checkpoint.args["amp"]), **options)


def say_processes(training: Mapping[str, Any], processes: int, options: TrainOptions) -> None:
    """Say what another number of processes than before changes.

    Args:
        training: What a checkpoint keeps to resume.
        processes: How many train now.
        options: Our own of the training, now.
    """
    before = training.get("processes", 1)
    said = f"It goes on in {processes} process(es), after {before}"
    synchronized = training.get("options", {}).get("sync_bn", False)
    parts, parts_before = _parts(processes, options.sync_bn), _parts(before, synchronized)
    if parts != parts_before:
        way_out = "--sync-bn takes them of all" if parts_before == 1 else f"--device names {parts_before} devices again"
        logger.warning(
            f"{said}: batch statistics are those of {_share(parts)}, after {_share(parts_before)}, which is another "
            f"training from here on; {way_out}"
        )
    elif processes != before:
        logger.info(f"{said}: rounding will differ")


def _parts(processes: int, sync_bn: bool) -> int:
    """Give in how many parts a batch has its statistics taken."""
    return 1 if sync_bn else processes


def _share(parts: int) -> str:
    return "whole batches" if parts == 1 else f"1/{parts} of a batch"


def restore(trainer: BaseTrainer, checkpoint: Checkpoint) -> None:
    """Put optimizer, average and counters where they stood at the end of the checkpoint's epoch."""
    state = checkpoint.training
    assert state is not None
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.accumulation.resume(state.get("accumulation", {}))
    decay = trainer.ema.decay
    trainer.ema = ModelEMA(trainer.model)  # the old one holds tensors made for inference
    trainer.ema.decay = decay
    trainer.ema.ema.load_state_dict(checkpoint.weights)
    trainer.ema.updates = state["updates"]
    trainer.best_fitness = state["best_fitness"]
    trainer.stopper.best_fitness = state["stopper"]["best_fitness"]
    trainer.stopper.best_epoch = state["stopper"]["best_epoch"]


def set_rates(trainer: BaseTrainer, rates: Sequence[float]) -> None:
    """Set the learning rate of each group of parameters from which those of warm-up and schedule are taken."""
    for group, rate in zip(trainer.optimizer.param_groups, rates, strict=True):
        group["initial_lr"] = rate
    trainer.scheduler.base_lrs = list(rates)


def note_return(trainer: BaseTrainer, checkpoint: Checkpoint, path: Path) -> None:
    """Keep in a checkpoint that the run went back to it, and with which learning rates it goes on."""
    assert checkpoint.training is not None
    changed = {"optimizer": trainer.optimizer.state_dict(), "steps": trainer.sound_steps.state()}
    noted = replace(checkpoint, training={**checkpoint.training, **changed})
    _write(noted, path, longest_wait(trainer.group))


def strip(path: Path, longest: float) -> None:
    """Take out of a checkpoint what only resuming needs; on a full disk wait so many seconds for room."""
    _write(replace(load_checkpoint(path), training=None), path, longest)


def drop_rows_after(path: Path, epoch: int) -> None:
    """Drop the rows of `results.csv` after `epoch` (counted from 1), which a resumed run is about to write again.

    A run that is killed between its row and its checkpoint leaves a row too many, or half of one. Where none is left
    there is no file, since what came of its header, which the first row brings, is not known: a power cut may have
    emptied it.
    """
    if not path.exists():
        return
    header, *rows = path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    columns = header.count(",")
    kept = [row for row in rows if row.count(",") == columns and int(float(row.split(",")[0])) <= epoch]
    if not kept:
        path.unlink()
        return
    atomic_write_text(path, "\n".join([header, *kept]) + "\n")


def _mend_average(averaged: nn.Module, model: nn.Module) -> None:
    """Take the model's tensors for those of its average that a passing NaN or infinity spoilt: they would stay so."""
    own = model.state_dict()
    for name, tensor in averaged.state_dict().items():
        if not torch.isfinite(tensor).all():
            tensor.copy_(own[name])
