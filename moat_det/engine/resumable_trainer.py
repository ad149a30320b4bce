"""The checkpoints of a training: written after each epoch, resumed, gone back to, and made fit for use at the end."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from ultralytics.cfg import DEFAULT_CFG, get_cfg
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils.torch_utils import ModelEMA, unwrap_model

from moat_det.data.sizes.imgsz import take_shape
from moat_det.engine.checkpoint import Checkpoint, load_checkpoint, load_model, newest_run
from moat_det.engine.results_csv import drop_rows_after
from moat_det.engine.train_options import TrainOptions
from moat_det.errors import UserError

logger = logging.getLogger(__name__)

# What may change when a run goes on: where and how it runs.
_RESUMABLE = {"device", "workers", "cache", "patience", "save_period", "plots", "val", "time", "verbose"}


class ResumableTrainer(DetectionTrainer):
    """The engine's trainer with our checkpoints in place of its own, which pickle the module.

    Attributes:
        resume: Whether a run goes on.
        mixed: Whether it trains in mixed precision.
    """

    args: Any
    resume: bool
    mixed: bool
    _options: TrainOptions
    _checkpoint: Checkpoint | None = None  # to resume from
    _workers: int | None = None  # as asked for

    def save_model(self) -> bool:
        """Write `last.pt`, `best.pt` when this epoch is the best, and `epochN.pt` when asked for."""
        model, averaged = unwrap_model(self.model), self.ema.ema
        _mend_average(averaged, model)
        checkpoint = Checkpoint(
            config=self._options.config,
            names=dict(model.names),
            weights=averaged.state_dict(),
            args={**vars(self.args), "amp": self.mixed, "imgsz": self._options.shape or self.args.imgsz},
            metrics={**self.metrics, "fitness": self.fitness},
            training={
                "epoch": self.epoch,
                "options": self._options.to_resume(),
                "weights": model.state_dict(),
                "updates": self.ema.updates,
                "optimizer": self.optimizer.state_dict(),
                "best_fitness": self.best_fitness,
                "stopper": {"best_fitness": self.stopper.best_fitness, "best_epoch": self.stopper.best_epoch},
            },
            channels=self.data["channels"],
            intensity=self.data["intensity"].to_dict(),
        )
        checkpoint.save(self.last)
        if self.best_fitness == self.fitness:
            checkpoint.save(self.best)
        if self.save_period > 0 and (self.epoch + 1) % self.save_period == 0:
            checkpoint.save(self.wdir / f"epoch{self.epoch + 1}.pt")
        return True

    def check_resume(self, overrides: Mapping[str, Any]) -> None:
        """Take over the arguments of the run to resume."""
        self.resume = bool(self.args.resume)
        self._workers = overrides.get("workers")
        if not self.resume:
            return
        named = self.args.resume if isinstance(self.args.resume, (str, Path)) else None
        path = Path(named) if named else newest_run(Path(self.args.project))
        self._checkpoint = load_checkpoint(path)
        if self._checkpoint.training is None:
            raise UserError(f"{path} is of a finished training: start a new one from it with --weights {path}")
        kept = {key: value for key, value in overrides.items() if key in _RESUMABLE}
        # The run's folder may have been moved since.
        place = {"resume": str(path), "model": str(path), "save_dir": str(path.resolve().parents[1])}
        arguments = {**self._checkpoint.args, **kept, **place}
        take_shape(arguments)  # it is among our options too
        self.args = get_cfg(DEFAULT_CFG, arguments)
        ignored = sorted(
            key
            for key, value in overrides.items()
            if key not in {*_RESUMABLE, *place, "data", "project", "name", "mode", "task"}
            and value != self._checkpoint.args.get(key)
        )
        if ignored:
            logger.warning(f"a resumed run keeps its own {', '.join(ignored)}; start a new run to change them")

    def resume_training(self, ckpt: Checkpoint | None) -> None:
        """Put optimizer, average and counters where they stood."""
        if ckpt is None:
            return
        self._restore(ckpt)
        assert ckpt.training is not None
        self.start_epoch = ckpt.training["epoch"] + 1
        drop_rows_after(self.csv, self.start_epoch)
        logger.info(f"Resuming {self.save_dir} at epoch {self.start_epoch + 1} of {self.epochs}")

    def _restore(self, checkpoint: Checkpoint) -> None:
        state = checkpoint.training
        assert state is not None
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema = ModelEMA(self.model)  # the old one holds tensors made for inference
        self.ema.ema.load_state_dict(checkpoint.weights)
        self.ema.updates = state["updates"]
        self.best_fitness = state["best_fitness"]
        self.stopper.best_fitness = state["stopper"]["best_fitness"]
        self.stopper.best_epoch = state["stopper"]["best_epoch"]

    def _handle_nan_recovery(self, epoch: int) -> bool:
        """Go back to `last.pt` when the loss or the fitness is no longer a number.

        Raises:
            UserError: It happened in the first epoch, or for the fourth time.
        """
        sound = torch.isfinite(self.loss).all() and np.isfinite(self.fitness if self.fitness is not None else 0.0)
        if sound:
            return False
        self.nan_recovery_attempts += 1
        if epoch == self.start_epoch or self.nan_recovery_attempts > 3 or not self.last.exists():
            raise UserError(
                f"the loss became NaN or infinite in epoch {epoch + 1}: lower --lr0 (it is {self.args.lr0}), "
                "or try --amp false"
            )
        logger.warning(f"The loss is no number in epoch {epoch + 1}; going back to {self.last}")
        checkpoint = load_checkpoint(self.last)
        assert checkpoint.training is not None
        self._model_train()
        unwrap_model(self.model).load_state_dict(checkpoint.training["weights"])
        self._restore(checkpoint)
        self.scheduler.last_epoch = epoch - 1
        return True

    def final_eval(self) -> None:
        """Take out of the checkpoints what only resuming needs, and validate the best."""
        for path in (self.last, self.best):
            if path.exists():
                replace(load_checkpoint(path), training=None).save(path)
        if self.best.exists():
            logger.info(f"\nValidating {self.best}...")
            self.validator.args.plots = self.args.plots
            self.metrics = self.validator(model=load_model(self.best))
            self.metrics.pop("fitness", None)


def _mend_average(averaged: nn.Module, model: nn.Module) -> None:
    """Take the model's tensors for those of its average that a passing NaN or infinity spoilt: they would stay so."""
    own = model.state_dict()
    for name, tensor in averaged.state_dict().items():
        if not torch.isfinite(tensor).all():
            tensor.copy_(own[name])
