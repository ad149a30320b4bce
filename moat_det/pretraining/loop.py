"""The training loop of a backbone alone; what is learnt is a `Task`."""

from __future__ import annotations

import logging
import math
import random
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm
from ultralytics.utils.torch_utils import ModelEMA, init_seeds

from moat_det.allocator import keep_freed_memory
from moat_det.data.loader.loader import is_of_dead_worker, killed_workers_explained
from moat_det.data.seeds import image_seed
from moat_det.detector.precision import compute_dtype
from moat_det.engine.batch_statistics import follow_steps
from moat_det.engine.checkpoint import size_of_file
from moat_det.engine.fastest_format import WORTH_IT, time_formats, timed_images
from moat_det.engine.optimizer import build_optimizer
from moat_det.engine.recovery.disk import LONGEST, when_there_is_room
from moat_det.engine.recovery.memory import is_out_of_memory
from moat_det.engine.recovery.random_states import random_states, set_random_states
from moat_det.engine.recovery.signals import STOPPED, Signals
from moat_det.engine.recovery.steps import IN_A_ROW, gradients_are_numbers, mend_statistics
from moat_det.errors import UserError
from moat_det.files import atomic_write_csv, claim_folder
from moat_det.paths import PROJECT
from moat_det.pretraining.checkpoint import BackboneCheckpoint, load_backbone_checkpoint
from moat_det.pretraining.options import LoopOptions, RunPlace
from moat_det.pretraining.passes import Passes
from moat_det.pretraining.task import Batch, Task
from moat_det.progress import progress
from moat_det.run_folder import LOCK, best_checkpoint, folder_of, hold_run, last_checkpoint

logger = logging.getLogger(__name__)

_LONGEST_WARMUP = 5.0  # epochs
_TABLE = 2**20  # bytes that `results.csv` may take


def seed_all(seed: int) -> None:
    """Begin all that is random anew, for the initial weights; to be called before a task builds its model."""
    init_seeds(seed, deterministic=True)


class Loop:
    """A training.

    Args:
        task: What is learnt.
        options: How.
        place: Where. The folder of the run is claimed here.
        device: The device.
        resumed: The `last.pt` of a run to go on with, and what it holds; None for a new run.

    Attributes:
        folder: Of the run: `results.csv`, `weights/last.pt`, `weights/best.pt`.

    Raises:
        UserError: Another training is at work in the folder, or the optimizer is unknown.
        OSError: The folder cannot be made.
    """

    def __init__(
        self,
        task: Task,
        options: LoopOptions,
        place: RunPlace,
        device: torch.device,
        resumed: tuple[Path, BackboneCheckpoint] | None = None,
    ) -> None:
        keep_freed_memory()
        self._task, self._options, self._place, self._device = task, options, place, device
        model: Any = task.model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._model: nn.Module = model
        self._optimizer = build_optimizer(
            model, options.optimizer, options.lr0, options.momentum, options.weight_decay, options.layer_decay
        )
        for group in self._optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self._average = ModelEMA(self._model, decay=options.ema or 0.9999)
        self._dtype = compute_dtype(device, options.amp, training=True)
        self._signals = Signals()
        self._passes = Passes(options.batch)
        self._steps_of_epoch = math.ceil(len(task) / options.accumulate)
        self._epoch, self._batch = 0, 0  # the next batch
        self._sum, self._summed = 0.0, 0  # of the losses of the epoch
        self._left_out = self._in_a_row = 0
        self._best = -math.inf
        self._rows: list[dict[str, float]] = []
        self._metrics: dict[str, float] = {}
        self._random: dict[str, Any] | None = None
        self._saved = time.monotonic()
        if resumed is None:
            self.folder = claim_folder(Path(place.project or PROJECT, place.name or task.name), place.exist_ok)
        else:
            self.folder = folder_of(resumed[0])
        self._lock = hold_run(self.folder)
        self._resumed = resumed is not None
        if resumed is not None:
            self._restore(resumed[1])

    @property
    def last(self) -> Path:
        """Where the state after the last epoch is, or amid one."""
        return last_checkpoint(self.folder)

    @property
    def best(self) -> Path:
        """Where the weights of the best epoch are."""
        return best_checkpoint(self.folder)

    def run(self) -> None:
        """Train to the end; both checkpoints are then without what only resuming needs.

        Raises:
            UserError: Losses or gradients were no numbers several times in a row, or the memory is too small.
            KeyboardInterrupt: The user, or the system, ended it; `last.pt` is where it goes on.
            SystemExit: The same, by a signal that ends a process at once.
        """
        try:
            with self._signals.taken(), killed_workers_explained():
                try:
                    if not self._resumed:
                        self._choose_format()
                    while self._epoch < self._options.epochs:
                        self._train_epoch()
                except (*STOPPED, RuntimeError, MemoryError) as error:
                    stopped = isinstance(error, STOPPED) or is_of_dead_worker(error)
                    if stopped and not self._signals.held and (self._epoch or self._batch):
                        self._save_at_stop()
                    if not is_out_of_memory(error):
                        raise
                    raise UserError(
                        f"--batch {self._options.batch}: does not fit into the memory; give a smaller one, and "
                        "--accumulate for as many images a step"
                    ) from error
                self._finish()
        finally:
            self._lock.release()
            if not self.last.exists():  # so that the next run takes its name
                (self.folder / LOCK).unlink(missing_ok=True)
                with suppress(OSError):
                    self.folder.rmdir()

    def _choose_format(self) -> None:
        """Go on in float32 where a CPU trains this model faster so; a resumed run keeps what was chosen."""
        images = self._options.batch * len(self._task) * self._options.epochs
        if self._device.type != "cpu" or self._dtype == torch.float32 or images < WORTH_IT:
            return
        batch = next(iter(self._task.batches(0, 0, self._device)))
        count = timed_images(self._options.batch, *batch[0].shape[2:])
        few = tuple(tensor[:count] for tensor in batch)

        def step(model: nn.Module, dtype: torch.dtype) -> None:
            with self._autocast(dtype):
                loss = self._task.loss(model, few)
            loss.backward()
            model.zero_grad(set_to_none=True)

        keeps, words = time_formats(self._model, step, self._dtype, len(few[0]))
        logger.info(words)
        if not keeps:
            self._dtype = torch.float32

    def _train_epoch(self) -> None:
        task, epoch = self._task, self._epoch
        self._start_epoch()
        batches = iter(task.batches(epoch, self._batch, self._device))
        text = f"epoch {epoch + 1}/{self._options.epochs}"
        with progress(total=len(task), text=text, unit="batch", leave=False, initial=self._batch) as bar:
            while gathered := list(islice(self._held(batches), self._options.accumulate)):
                self._step(gathered)
                self._batch += len(gathered)
                bar.update(len(gathered))
                self._signals.release()
                minutes = self._place.save_minutes
                if minutes and time.monotonic() - self._saved >= 60 * minutes and self._batch < len(task):
                    self._save(self.last)
        self._signals.release()
        self._end_epoch()

    def _held(self, batches: Any) -> Any:
        """Hold signals back from the moment a batch is there until its step is done."""
        for batch in batches:
            self._signals.hold()
            yield batch

    def _start_epoch(self) -> None:
        """Begin an epoch with randomness that depends on (seed, epoch), or go on amid it."""
        self._model.train()
        self._norms = [module for module in self._model.modules() if isinstance(module, nn.BatchNorm2d)]
        if self._random is not None:
            set_random_states(self._random)
            self._random = None
            return
        seed = image_seed(self._options.seed, self._epoch, 2**32 - 1)  # no image has this number
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        self._sum, self._summed = 0.0, 0

    def _step(self, batches: list[Batch]) -> None:
        number = self._epoch * self._steps_of_epoch + self._batch // self._options.accumulate
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self._rate(number)
        statistics = [(buffer, buffer.clone()) for norm in self._norms for buffer in norm.buffers()]

        def undo() -> None:  # else the passes that fitted would count twice
            for buffer, before in statistics:
                buffer.copy_(before)

        losses = self._passes.fit(lambda images: self._compute_gradients(batches, images), undo)
        if not gradients_are_numbers(self._model) or not all(map(math.isfinite, losses)):
            self._leave_out()
            return
        self._in_a_row = 0
        self._sum, self._summed = self._sum + sum(losses), self._summed + len(losses)
        if self._options.clip:
            nn.utils.clip_grad_norm_(self._model.parameters(), self._options.clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self._options.ema:
            self._average.update(self._model)

    def _compute_gradients(self, batches: list[Batch], images: int) -> list[float]:
        """Compute the gradients of a step, with at most so many images a pass; gives the loss of each batch."""
        self._optimizer.zero_grad()
        losses = []
        for batch in batches:
            count = len(batch[0])
            losses.append(0.0)
            for part in zip(*(tensor.tensor_split(math.ceil(count / images)) for tensor in batch), strict=True):
                share = len(part[0]) / count
                follow_steps(self._norms, len(part[0]), () if self._task.fresh else self._norms)
                with self._autocast(self._dtype):
                    loss = self._task.loss(self._model, part) * share
                (loss / len(batches)).backward()
                losses[-1] += float(loss.detach())
        return losses

    def _autocast(self, dtype: torch.dtype) -> AbstractContextManager[object]:
        return torch.autocast(self._device.type, dtype) if dtype != torch.float32 else nullcontext()

    def _leave_out(self) -> None:
        self._optimizer.zero_grad()
        mend_statistics(self._model, self._average.ema)
        self._left_out, self._in_a_row = self._left_out + 1, self._in_a_row + 1
        if self._in_a_row >= IN_A_ROW:
            raise UserError(
                f"the loss or a gradient was no number in {IN_A_ROW} steps in a row, in epoch {self._epoch + 1}: "
                f"lower --lr0 (it is {self._options.lr0}), or try --amp false"
            )
        logger.warning(
            f"Epoch {self._epoch + 1}: the loss or a gradient is no number; the step is left out, "
            f"{self._left_out} so far"
        )

    def _rate(self, step: int) -> float:
        """Give the factor on the learning rate at a step: a linear rise, then half a cosine down to `lrf`."""
        options = self._options
        epochs = min(_LONGEST_WARMUP, options.epochs / 10) if options.warmup_epochs is None else options.warmup_epochs
        warm, total = round(epochs * self._steps_of_epoch), options.epochs * self._steps_of_epoch
        if step < warm:
            return (step + 1) / (warm + 1)
        share = (step - warm) / max(total - warm, 1)
        return options.lrf + (1 - options.lrf) * (1 + math.cos(math.pi * share)) / 2

    def _end_epoch(self) -> None:
        """Measure the average, write the epoch's row and the checkpoints, and go to the next epoch."""
        if not self._options.ema:
            self._average.ema.load_state_dict(self._model.state_dict())
        rate = max(group["lr"] for group in self._optimizer.param_groups)
        row: dict[str, float] = {"epoch": self._epoch + 1, "loss": self._mean_loss(), "lr": rate}
        with torch.inference_mode(), self._autocast(self._dtype):
            model = self._average.ema.eval()
            self._metrics = self._passes.fit(lambda images: self._task.measure(model, self._device, images))
        self._signals.hold()  # until rows and files say the same
        fitness = self._metrics.get(self._task.fitness, math.inf)
        better = fitness > self._best or not self._task.fitness
        self._best = max(self._best, fitness)
        row |= self._metrics
        self._rows.append(row)
        self._epoch, self._batch = self._epoch + 1, 0
        if better:
            self._save(self.best)
        table = self.folder / "results.csv"
        when_there_is_room(lambda: atomic_write_csv(table, list(row), self._rows), self.folder, _TABLE)
        # After the others: a run that is killed in between goes on before this epoch's end, and writes them again.
        self._save(self.last)
        self._signals.release()
        said = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "epoch")
        tqdm.write(f"epoch {self._epoch}/{self._options.epochs}: {said}")

    def _mean_loss(self) -> float:
        return self._sum / self._summed if self._summed else 0.0

    def _finish(self) -> None:
        """Let the task finish, and keep of the checkpoints what is used; until all is done `last.pt` can be resumed."""
        best, last = (load_backbone_checkpoint(path, self._task.name) for path in (self.best, self.last))
        model = self._average.ema.eval()
        model.load_state_dict(best.weights)
        self._passes.fit(lambda images: self._task.finish(model, self.folder, self._device, images))
        best = replace(best, weights=model.state_dict(), training=None)
        self._write(best, self.best)
        self._write(replace(last, training=None) if self._task.fitness else best, self.last)

    def _save(self, path: Path) -> None:
        self._write(self._checkpoint(), path)
        self._saved = time.monotonic()

    def _save_at_stop(self) -> None:
        """Write where the training stands; whoever ends it does not wait for room on a full disk."""
        try:
            self._write(self._checkpoint(), self.last, longest=0)
        except OSError as error:
            goes_on = f"; --resume {self.last} goes on from before" if self.last.exists() else ""
            logger.warning(f"Stopped in epoch {self._epoch + 1} without a new {self.last}: {error.strerror}{goes_on}")
        else:
            logger.info(f"Stopped in epoch {self._epoch + 1}; --resume {self.last} goes on from here")

    def _write(self, state: BackboneCheckpoint, path: Path, longest: float = LONGEST) -> None:
        size = size_of_file([state.weights, state.training])
        when_there_is_room(lambda: state.save(path), self.folder, size, longest)

    def _checkpoint(self) -> BackboneCheckpoint:
        return BackboneCheckpoint(
            task=self._task.name,
            **self._task.about(),
            weights=dict(self._average.ema.state_dict()),
            metrics=self._metrics,
            training={
                "task": self._task.training,
                "epoch": self._epoch,
                "batch": self._batch,
                "random": random_states() if self._batch else None,
                "loss": [self._sum, self._summed],
                "left_out": self._left_out,
                "best": self._best,
                "rows": self._rows,
                "weights": self._model.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "updates": self._average.updates,
                "pass": self._passes.images,
                "mixed": self._dtype != torch.float32,
            },
        )

    def _restore(self, checkpoint: BackboneCheckpoint) -> None:
        state = checkpoint.training
        assert state is not None
        self._model.load_state_dict(state["weights"])
        self._average.ema.load_state_dict(checkpoint.weights)
        self._average.updates = state["updates"]
        self._optimizer.load_state_dict(state["optimizer"])
        self._epoch, self._batch, self._random = state["epoch"], state["batch"], state["random"]
        (self._sum, self._summed), self._left_out = state["loss"], state["left_out"]
        self._passes = Passes(state.get("pass", self._options.batch))
        mixed = self._options.amp and state.get("mixed", True)
        self._dtype = compute_dtype(self._device, mixed, training=True)
        self._best, self._rows, self._metrics = state["best"], list(state["rows"]), checkpoint.metrics
        logger.info(f"Resuming {self.folder} in epoch {self._epoch + 1} of {self._options.epochs}")
