"""Training: the engine's loop with our model, data, optimizer, checkpoints and randomness."""

from __future__ import annotations

import logging
import math
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import nn
from ultralytics.cfg import DEFAULT_CFG
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils.patches import override_configs
from ultralytics.utils.torch_utils import init_seeds, unwrap_model

from moat_det.allocator import give_back_freed_memory, keep_freed_memory
from moat_det.checks.quick import quick_check
from moat_det.data.augment import Preset
from moat_det.data.config import DatasetConfig, check_channels, check_split, load_dataset
from moat_det.data.images.intensity import Intensity
from moat_det.data.index.labels import ONE_CLASS
from moat_det.data.loader.dataset import DatasetOptions, DetectionDataset
from moat_det.data.loader.good_parts import expected_objects
from moat_det.data.loader.loader import Loader, default_workers, is_of_dead_worker, make_loader
from moat_det.data.sizes.policy import size_policy
from moat_det.data.sizes.progressive import progressive_shape
from moat_det.data.sizes.shape import Shape
from moat_det.demo import dataset_source
from moat_det.detector.base import BaseDetector
from moat_det.detector.build import build_model
from moat_det.engine.accumulation import Accumulation
from moat_det.engine.average import set_decay
from moat_det.engine.batch_plots import left_out_without_room, plot_batch
from moat_det.engine.batch_statistics import MIN_IMAGES_FOR_BATCH_STATISTICS, follow_steps
from moat_det.engine.checkpoint import Checkpoint, is_checkpoint, load_checkpoint
from moat_det.engine.device import use_all_cores
from moat_det.engine.distributed.batch_norm import level_statistics, synchronize
from moat_det.engine.distributed.batches import ShareOfBatches
from moat_det.engine.distributed.gradients import share_gradients
from moat_det.engine.distributed.group import ALONE, Group
from moat_det.engine.distributed.loss import share_loss
from moat_det.engine.fastest_format import WORTH_IT, trains_faster_reduced
from moat_det.engine.fine_tuning import load_weights, set_backbone_training
from moat_det.engine.inference_options import ValidationOptions
from moat_det.engine.loggers import Loggers
from moat_det.engine.optimizer import build_optimizer
from moat_det.engine.quiet import will_draw
from moat_det.engine.recovery.disk import longest_wait, when_there_is_room
from moat_det.engine.recovery.memory import is_out_of_memory
from moat_det.engine.recovery.position import Position
from moat_det.engine.recovery.signals import STOPPED, Signals
from moat_det.engine.recovery.steps import SoundSteps
from moat_det.engine.run_checkpoints import (
    check_same_data,
    drop_rows_after,
    find_resumable,
    options_of,
    read_run,
    restore,
    save_epoch,
    save_position,
    say_processes,
    set_rates,
    strip,
)
from moat_det.engine.train_options import TrainOptions
from moat_det.engine.trained import Trained
from moat_det.engine.validator import Validator
from moat_det.errors import UserError
from moat_det.files import atomic_write_bytes
from moat_det.messages import some
from moat_det.run_folder import LOCK, claim_run, folder_of, hold_run

logger = logging.getLogger(__name__)

_ROW = 4096  # bytes that a row of `results.csv` may take


class Trainer(DetectionTrainer):
    """Trains a detector.

    Attributes:
        resume: Whether a run goes on.
        accumulation: After which batches the optimizer steps.
        position: How far the epoch is.
        sound_steps: Which steps happen; what was left out.
        data_identity: What tells the data from other data, by split, as `SplitIndex.identity` gives it.
        group: The processes that train together.

    Args:
        overrides: The engine's arguments; those not given come from `cfg/training/default.yaml` (ours) and the engine.
        options: Our own; None to resume a run, whose checkpoint knows them.
        changed: Those of `RESUMABLE_OPTIONS` that a resumed run is given anew.
        group: The processes that train together; each has a trainer.
        _callbacks: The user's callbacks, by event.

    Raises:
        UserError: An argument, the data or the checkpoint to resume from is not in order.
    """

    args: Any
    resume: bool
    stop: bool
    epochs: int
    batch_size: Any
    accumulate: float
    _checkpoint: Checkpoint | None = None  # to resume from
    _arguments: bytes | None = None  # of the run to resume, as they stand in its folder
    _lock: FileLock | None = None  # keeps other trainings out of the folder
    _saved = False  # this training has written `last.pt`
    _nominal_batch = 0  # images of a step, where that is a batch
    _wait_until = 0.0  # by the monotonic clock: how long a full disk may hold up what is due to be written
    _batch_norms: list[nn.BatchNorm2d]
    _given: set[nn.Module]  # modules that have counted their steps before this training

    def __init__(
        self,
        cfg: Any = DEFAULT_CFG,
        overrides: dict[str, Any] | None = None,
        _callbacks: dict[str, list[Callable[..., None]]] | None = None,
        options: TrainOptions | None = None,
        changed: Mapping[str, Any] | None = None,
        group: Group = ALONE,
    ) -> None:
        overrides = overrides or {}
        self.group = group
        try:
            # The engine's own mixed precision stays off (see `TrainOptions.mixed`), in a resumed run too.
            super().__init__(cfg, overrides if options is None else {**overrides, "amp": False}, _callbacks)
        except BaseException:
            self._let_others_in()
            raise
        finally:
            self._put_back_arguments()
        # To the engine each process trains alone: its own way knows neither CPUs nor several nodes.
        self.world_size, self.ddp = 1, False
        init_seeds(self.args.seed, deterministic=self.args.deterministic)  # the engine's are another for each process
        self.accumulation, self.position = Accumulation(), Position()
        self.sound_steps, self._signals = SoundSteps(), Signals(group)
        self._seconds_before: float | None = 0.0  # that the run had trained when it was stopped; None: not known
        self.add_callback("on_train_epoch_start", lambda _: self._count_time_before())
        self.add_callback("on_train_batch_start", lambda _: self._signals.hold())
        self.add_callback("on_train_batch_end", lambda _: self._end_batch())
        self.add_callback("on_train_epoch_end", lambda _: self._end_batches())
        use_all_cores()
        keep_freed_memory()
        # The engine has set none for a CPU, whatever was asked for.
        workers = overrides.get("workers")
        if workers is None:
            own = self._checkpoint and self._checkpoint.args.get("workers")
            workers = default_workers(self.device, self.group.local_size) if own is None else own
        self.args.workers = workers
        if self._checkpoint is not None:
            options = options_of(self._checkpoint, changed or {})
        assert options is not None, "a new training needs options"
        self._options = options
        if not self.resume and self.group.leads:
            options.save(self.save_dir / "options.yaml")
        self._loggers = Loggers(self, options.log if self.group.leads else [])
        self.add_callback("on_train_epoch_end", lambda _: self._agree())

    @property
    def _shape(self) -> Shape:
        """Height and width that images are scaled to fit into."""
        return self._options.shape or (self.args.imgsz, self.args.imgsz)

    @property
    def _largest_stride(self) -> int:
        """Of which the sides of images are multiples."""
        return max(int(unwrap_model(self.model).stride.max()), 32)

    def _put_back_arguments(self) -> None:
        """Leave the arguments of a run to resume as they were until it goes on: it may yet be refused."""
        if self._arguments is not None:
            file = Path(self.args.save_dir, "args.yaml")
            before, self._arguments = self._arguments, file.read_bytes()
            atomic_write_bytes(file, before)

    def _let_others_in(self) -> None:
        if self._lock is not None:
            self._lock.release()

    # From the beginning to the end, whatever comes in between

    def train(self) -> None:
        """Train; where it is stopped, leave a checkpoint to go on from."""
        try:
            with self._signals.taken():
                try:
                    super().train()
                except (*STOPPED, RuntimeError) as error:
                    whole = self.position.is_savable and not self._signals.held
                    if self.group.leads and whole and (isinstance(error, STOPPED) or is_of_dead_worker(error)):
                        self._save_at_stop()
                    raise
        finally:
            self._let_others_in()

    def _save_at_stop(self) -> None:
        """Write where the training stands; whoever ends it does not wait for room on a full disk."""
        try:
            save_position(self, self._options, longest=0)
        except OSError as error:
            file = self._own_checkpoint
            goes_on = f"; --resume {file} goes on from before" if file is not None else ""
            logger.warning(f"Stopped in epoch {self.epoch + 1} without a new {self.last}: {error.strerror}{goes_on}")
        else:
            logger.info(f"Stopped in epoch {self.epoch + 1}; --resume {self.last} goes on from here")

    def _do_train(self) -> None:
        """Train; where a batch does not fit into the memory, go on with half of it."""
        while True:
            ended = self._checkpoint is not None and self._is_ended(self._checkpoint)
            try:
                if ended:
                    return self._finish()
                return super()._do_train()
            except (RuntimeError, MemoryError) as error:
                alone = self.group.size == 1  # the others would wait for this one
                if not is_out_of_memory(error) or not alone or self.optimizer is None:
                    raise
                if min(self.batch_size, self._images_of_epoch) < 2:  # there is no half of one
                    raise
            # Out of the handler, since the error holds the tensors of the batch.
            self._halve_batch()

    @staticmethod
    def _is_ended(checkpoint: Checkpoint) -> bool:
        """Whether a run to resume has had its last epoch."""
        return bool(checkpoint.training and checkpoint.training.get("ended"))

    def _finish(self) -> None:
        """Do what comes after the last epoch, where a run was stopped in that."""
        self._setup_train()
        self.final_eval()
        if self.group.leads and self.args.plots:
            self.plot_metrics()
        self.run_callbacks("on_train_end")
        for loader in (self.train_loader, self.test_loader):
            loader.close()

    def _halve_batch(self) -> None:
        """Go back to the last checkpoint with batches of half the size, as many more of which make a step."""
        self.position.leave_epoch()  # before a signal could have it written
        images = self._images_of_epoch
        before = min(self.batch_size, images)
        self.args.batch = self.batch_size = before // 2
        if self._options.nbs_follows_batch:
            self.args.nbs = self._nominal_batch = min(self.args.nbs, images)
        for loader in (self.train_loader, self.test_loader):
            loader.close()
        for name in ("model", "optimizer", "scheduler", "ema", "loss", "train_loader", "test_loader", "validator"):
            setattr(self, name, None)
        self._batch_norms, self._given = [], set()
        self._clear_memory()
        give_back_freed_memory()
        file = self.newest_checkpoint()
        self._checkpoint = None if file is None else load_checkpoint(file)
        init_seeds(self.args.seed, deterministic=self.args.deterministic)
        logger.warning(
            f"Out of memory with batches of {before} images: the training goes on from {file or 'the beginning'} with "
            f"batches of {self.batch_size}, and steps after as many images as before"
        )

    # The model and its data

    def get_dataset(self) -> DatasetConfig:
        """Read the dataset's YAML; nothing is downloaded or run."""
        data = load_dataset(dataset_source(self.args.data))
        check_split(data, self.args.split, data["yaml_file"])
        if self.args.single_cls:
            data["names"], data["nc"] = {0: ONE_CLASS}, 1
        if self._checkpoint is not None:
            data["intensity"] = Intensity.from_dict(self._checkpoint.intensity)
        will_draw(data["names"].values())
        return data

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> DetectionDataset:
        """Index the images and labels of a split: of "train", or in validation of the one asked for."""
        stride = self._largest_stride
        imgsz, batch = self._options.shape or self.args.imgsz, batch or self.args.batch
        if mode == "val":
            sizes = size_policy(imgsz, stride, rect=True)
            return DetectionDataset(self.data, self.args.split, sizes, DatasetOptions.of(self.args, batch, "gray"))
        sizes = size_policy(imgsz, stride, rect=self.args.rect, training=True)
        chosen = (self._options.good_parts, self._options.rare_classes)
        options = DatasetOptions.of(self.args, batch, "replace", *chosen)
        preset = Preset(**self._options.augmentation) if self._options.augmentation else None
        dataset = DetectionDataset(self.data, "train", sizes, options, self.args, preset)
        self.data["intensity"] = dataset.intensity  # the validation's and the checkpoint's from here on
        return dataset

    def get_dataloader(self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train") -> Loader:
        """Make the batches of a split."""
        dataset = self.build_dataset(dataset_path, mode, batch_size)
        train = mode == "train"
        drop_last = train and bool(self.args.compile)
        return make_loader(dataset, self.args.workers, self.device, train, drop_last, self.group.rank, self.group.size)

    def setup_model(self) -> Checkpoint | None:
        """Build the model; load the weights that it starts from, or goes on from.

        Returns:
            The checkpoint to resume, or None.
        """
        names = dict(self.data["names"])
        self.model = build_model(self._options.config, len(names), names, self.args.model, self.data["channels"])
        if self._checkpoint is not None:
            if list(self._checkpoint.names.values()) != list(names.values()):
                raise UserError(
                    f"{self.args.data} has the classes {list(names.values())}, the run to resume "
                    f"{list(self._checkpoint.names.values())}: resume with the data it was started with"
                )
            check_channels(self._checkpoint.channels, self.data)
            assert self._checkpoint.training is not None
            self.model.load_state_dict(self._checkpoint.training["weights"])
        else:
            self.model.initialize_prior(self._shape)
            if self._options.weights is not None:
                load_weights(
                    self.model,
                    self._options.weights,
                    remap_classes=self.args.cls_remap,
                    by_order=self._options.weights_by_order,
                )
        self.model.prepare(self.device, self._options.mixed, training=True)
        if self._options.sync_bn and self.group.size > 1:
            synchronize(self.model)
        self.args.freeze = _frozen(self.args.freeze, self.model)
        return self._checkpoint

    def get_validator(self) -> Validator:
        """Make the validator of each epoch and of the end."""
        return Validator(
            {**vars(self.args), "amp": self._options.mixed},
            self.test_loader,
            self.save_dir,
            callbacks=self.callbacks,
            options=ValidationOptions(shape=self._options.shape),
            trained=Trained(self._shape, self.data["intensity"], self.chosen_on),
            group=self.group,
        )

    @property
    def chosen_on(self) -> str:
        """What chooses the best epoch, as `Trained` has it."""
        return self.test_loader.dataset.index.images_digest() if self.args.val else ""

    def build_optimizer(
        self,
        model: nn.Module,
        name: str = "auto",
        lr: float = 0.001,
        momentum: float = 0.9,
        decay: float = 1e-5,
        iterations: float = 1e5,
    ) -> torch.optim.Optimizer:
        """Make ours for our models; the engine's for its own, which are here to be compared with as they are."""
        if unwrap_model(model).engine_recipe:
            return super().build_optimizer(model, name, lr, momentum, decay, iterations)
        return build_optimizer(unwrap_model(model), name, lr, momentum, decay, self._options.layer_decay)

    def auto_batch(self) -> int:
        """Find the batch that fills the GPU; the engine tries squares, so one of as many pixels as our shape."""
        with override_configs(self.args, {"imgsz": round(math.sqrt(math.prod(self._shape)))}) as self.args:
            return super().auto_batch()

    def _build_train_pipeline(self) -> None:
        """Make the loaders and the optimizer; the batch may have been chosen, or halved, only now."""
        if self.group.size == 1 and self.batch_size < 1:  # else the engine finds it, where nobody launched the process
            self.args.batch = self.batch_size = self.auto_batch()
        fresh = self._checkpoint is None and self.optimizer is None
        if self._options.nbs_follows_batch and fresh:
            self.args.nbs = self._nominal_batch = self._nominal_batch or self.batch_size
        if self.group.size > 1:
            self._share_batches()
        super()._build_train_pipeline()
        self.accumulation.start()
        self.accumulation.least = int(self.accumulate) if self._options.nbs_follows_batch else 1
        indices = {"train": self.train_loader.dataset.index, self.args.split: self.test_loader.dataset.index}
        self.data_identity = {split: index.identity() for split, index in indices.items()}
        if fresh:
            self._follow_objects()
            self._choose_format()
        if self._checkpoint is not None:
            check_same_data(self._checkpoint, self.data_identity, self.data["yaml_file"])
        self._say_good_parts()
        for line in quick_check(indices, self.data["names"], self._shape):
            logger.warning(line)

    def _share_batches(self) -> None:
        """Let the processes have each batch in common, and the mean of their gradients.

        Raises:
            UserError: They are more than a batch has images.
        """
        processes = self.group.size
        if not isinstance(self.batch_size, int) or self.batch_size < processes:
            raise UserError(
                f"--batch {self.batch_size}: the {processes} processes share each batch: give it {processes} or more"
            )
        if not self._options.sync_bn and self.batch_size < processes * MIN_IMAGES_FOR_BATCH_STATISTICS:
            logger.warning(
                f"each of the {processes} processes takes its batch statistics of {self.batch_size // processes} "
                "images: --sync-bn takes them of all"
            )
        model = unwrap_model(self.model)
        some_idle = bool(self._options.freeze_backbone) or model.engine_recipe or model.leaves_maps_out
        self.model = share_gradients(self.model, bool(self.args.compile), some_idle)

    def _follow_objects(self) -> None:
        """Let a head that has learnt nothing start from the scores that the data's objects make likely."""
        weights = self._options.weights
        if self._checkpoint is not None or (weights is not None and is_checkpoint(weights)):
            return
        dataset = self.train_loader.dataset
        repeats = None if dataset.good_parts is None else dataset.good_parts.repeats
        objects = expected_objects(dataset.labels, len(self.data["names"]), self._images_of_epoch, repeats)
        unwrap_model(self.model).initialize_prior(self._shape, objects)

    @property
    def _images_of_epoch(self) -> int:
        """How many images an epoch takes."""
        dataset = self.train_loader.dataset
        return len(dataset if dataset.good_parts is None else dataset.good_parts)

    def _choose_format(self) -> None:
        """Go on in float32 where a CPU trains this model faster so; a resumed run keeps what was chosen.

        So do all processes where the CPU of one has no other format.
        """
        model, images = unwrap_model(self.model), len(self.train_loader.dataset) * self.epochs
        if not self._options.choose_format or self.device.type != "cpu":
            return
        reduced = not model.engine_recipe and model.dtype != torch.float32
        some, all_of_them = self.group.any(reduced), not self.group.any(not reduced)
        if not some or (all_of_them and images < WORTH_IT):
            return
        keeps, words = False, "trains in float32, since the CPU of a process has no faster format"
        if all_of_them:
            shape = (self.data["channels"], *self._shape)
            # Each measures, since norms that share their statistics wait for one another; the first one's counts.
            keeps, words = self.group.share(trains_faster_reduced(model, shape, self.batch_size // self.group.size))
        logger.info(words)
        if not keeps:
            self._options = replace(self._options, mixed=False)
            model.prepare(self.device, mixed=False, training=True)

    def _say_good_parts(self) -> None:
        """Say what an epoch takes where it does not take every image."""
        chosen = self.train_loader.dataset.good_parts
        if chosen is None:
            return
        if chosen.drawn < chosen.good:
            logger.info(
                f"an epoch takes {chosen.with_objects} images with objects and {chosen.drawn} of the {chosen.good} "
                "good parts, others each time (--good-parts SHARE)"
            )
        if chosen.repeats is not None:
            logger.info(
                f"{int((chosen.repeats > 1).sum())} images with rare classes come up to "
                f"{math.ceil(chosen.repeats.max())} times in an epoch (--rare-classes SHARE)"
            )

    # One epoch

    def _get_warmup_iterations(self, num_batches: int) -> int:
        """Give the warm-up's steps; with `--time` the number of epochs is estimated anew, by the first process."""
        self.epochs = self.args.epochs = self.group.share(self.epochs)
        return super()._get_warmup_iterations(num_batches)

    def _model_train(self) -> None:
        """Start an epoch: training mode, a backbone held or not, and randomness that depends on (seed, epoch) alone.

        A resumed run then draws what the uninterrupted one would have drawn.
        """
        super()._model_train()
        # So many that the engine leaves full memory to us, in its first epoch on a GPU too.
        self._oom_retries = 3
        set_decay(self.ema, self._options.ema, self._options.ema_tau)
        model = unwrap_model(self.model)
        if self._options.freeze_backbone:
            set_backbone_training(model.backbone, self.optimizer, self.epoch >= self._options.freeze_backbone)
        norms = [] if model.engine_recipe else model.modules()
        self._batch_norms = [m for m in norms if isinstance(m, nn.BatchNorm2d) and m.training]
        # Those of a neck that weights of a detector gave have counted their steps.
        came_with_weights = self._options.weights is not None and model.backbone is not None
        self._given = set(model.backbone.modules()) if came_with_weights else set()
        if self.args.compile:  # torch would compile the model anew for each momentum
            self._given.update(self._batch_norms)
        self._share = ShareOfBatches(model)
        if getattr(model, "criterion", None) is None:  # after the class weights are known
            model.criterion = share_loss(model.init_criterion(), self.group)
        self._schedule_loss(model.criterion)
        seed = int(np.random.SeedSequence([self.args.seed, self.epoch]).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        self.train_loader.start_epoch(self.epoch)
        self.position.start_epoch(self)
        self.sound_steps.start_epoch()
        self.accumulation.put_gradients(model)

    def _schedule_loss(self, criterion: Any) -> None:
        """Let a loss whose weights change by the epoch have those of this one.

        It counts epochs itself, from its own first on, also where a run goes on or begins an epoch again.
        """
        if hasattr(criterion, "update") and criterion.updates != self.epoch:
            criterion.updates = self.epoch - 1
            criterion.update()

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Move the batch to the device, and let the BN statistics follow it."""
        if self.position.is_passed(self):
            self.accumulate = self.accumulation.leave_out(self.accumulate)
            return batch
        batch = super().preprocess_batch(batch)
        batch["img"] = self._grown(batch["img"])
        self.accumulate = self.accumulation.count(self.accumulate)
        if self.group.size > 1 and batch["share"].total < MIN_IMAGES_FOR_BATCH_STATISTICS:
            # It is computed with the running statistics: those of the first process, which its checkpoints keep.
            level_statistics(unwrap_model(self.model), self.group)
        follow_steps(self._batch_norms, batch["share"].total, self._given)
        self._share.set(batch["share"])
        return batch

    def _grown(self, images: torch.Tensor) -> torch.Tensor:
        """Give images at the size that they have in this epoch; boxes are shares of it."""
        height, width = images.shape[2:]
        start, stride = self._options.progressive, self._largest_stride
        shape = progressive_shape((height, width), start, self.epoch, self.epochs, stride)
        if shape == (height, width):
            return images
        return nn.functional.interpolate(images, shape, mode="bilinear", antialias=True)

    def _agree(self) -> None:
        """Let all processes go on from the first one's batch statistics and decisions."""
        if self.group.size > 1:
            for model in (unwrap_model(self.model), self.ema.ema):
                level_statistics(model, self.group)
            self.stop, self.stopper.possible_stop = self.group.share((self.stop, self.stopper.possible_stop))

    def optimizer_step(self) -> None:
        """Step, where all gradients are numbers."""
        if self.sound_steps.check(self):
            super().optimizer_step()

    def _end_batch(self) -> None:
        """Count a batch; write a checkpoint where it is time for one, and end where a signal asked for it."""
        self._count_batch()
        self._signals.release(amid=True)
        if self.group.leads and self.position.is_due(self._options.save_minutes):
            self._wait_until = time.monotonic() + longest_wait(self.group)
            save_position(self, self._options, self._room_wait)
            self._note_saved()

    def _count_batch(self) -> None:
        self.position.end_batch()
        self.sound_steps.keep_losses(self)

    def _end_batches(self) -> None:
        if self.position.amid_batch:  # the engine does not end the one after which `--time` has run out
            self._count_batch()
        self.position.arrive(self)
        self.sound_steps.end_epoch(self)
        self._signals.release()

    @property
    def _room_wait(self) -> float:
        """Seconds for which a full disk may still hold up all that is written after this epoch, or batch, together."""
        return max(self._wait_until - time.monotonic(), 0.0)

    def _note_saved(self) -> None:
        self._saved = True
        self.position.note_saved()

    def save_metrics(self, metrics: dict[str, Any]) -> None:
        """Append the epoch's row to `results.csv`, and give it to the loggers.

        Layer decay has two learning rates a layer: the first two, of neck and head, tell the others.
        """
        if self._options.layer_decay != 1:
            others = self.lr.keys() - {"lr/pg0", "lr/pg1"}
            metrics = {key: value for key, value in metrics.items() if key not in others}
        size = self.csv.stat().st_size if self.csv.exists() else None

        def write() -> None:
            # Without what was written of the row before the disk was full; the first one brings the header.
            if size is None:
                self.csv.unlink(missing_ok=True)
            else:
                os.truncate(self.csv, size)
            DetectionTrainer.save_metrics(self, metrics)

        when_there_is_room(write, self.save_dir, _ROW, self._room_wait)
        self._loggers.write(metrics)

    def plot_training_samples(self, batch: dict[str, Any], ni: int) -> None:
        """Draw the images of batch number `ni`."""
        if "passed" in batch:
            return
        file = self.save_dir / f"train_batch{ni}.jpg"
        with left_out_without_room(file):
            plot_batch(file, batch, batch["im_file"])
            self.on_plot(file)

    def plot_training_labels(self) -> None:
        """Draw where the boxes lie and how large they are."""
        with left_out_without_room(self.save_dir / "labels.jpg"):
            super().plot_training_labels()

    def plot_metrics(self) -> None:
        """Draw the curves of `results.csv`."""
        with left_out_without_room(self.save_dir / "results.png"):
            if self.csv.exists():
                super().plot_metrics()

    # The checkpoints

    def check_resume(self, overrides: Mapping[str, Any]) -> None:
        """Take over the arguments of the run to resume, or claim the folder of a new one.

        The engine calls this just before it looks for a folder, and takes the one that is named here.
        """
        self.resume = bool(self.args.resume)
        if self.resume:
            if self.group.leads:
                # Before it is read: a training that is just ending writes it once more.
                path = find_resumable(self.args)
                self._lock = hold_run(folder_of(path))
                self._checkpoint, self.args = read_run(path, self.args, overrides)
                file = Path(self.args.save_dir, "args.yaml")
                self._arguments = file.read_bytes() if file.is_file() else None
            self.args.resume = self.group.share(self.args.resume)
            if not self.group.leads:
                self._checkpoint, self.args = read_run(Path(self.args.resume), self.args, overrides)
            return
        folder = None
        if self.group.leads:
            folder = claim_run(self.args)
            self._lock = hold_run(folder)
            (folder / "results.csv").unlink(missing_ok=True)  # or each process would, where the folder may exist
        self.args.save_dir = str(self.group.share(folder))

    def resume_training(self, ckpt: Checkpoint | None) -> None:
        """Put optimizer, average and counters where they stood."""
        if ckpt is None:
            return
        restore(self, ckpt)
        if ckpt.args.get("batch") != self.batch_size:
            self.accumulation.start()  # what waits for its step was counted in batches of the other size
        assert ckpt.training is not None
        self.start_epoch = ckpt.training["epoch"] + 1
        self._seconds_before = ckpt.training.get("seconds")
        self.sound_steps.resume(ckpt.training.get("steps", {}))
        if self.group.leads:
            drop_rows_after(self.csv, self.start_epoch)
        if self._arguments is not None:
            atomic_write_bytes(self.save_dir / "args.yaml", self._arguments)
        set_rates(self, [group["initial_lr"] for group in self.optimizer.param_groups])
        position = ckpt.training.get("position", {})
        amid = self.position.resume(position, self.batch_size)
        if self._is_ended(ckpt):
            logger.info(f"{self.save_dir} has had its last epoch; what comes after it is left")
            return
        after = f", after {position['batches']} of its {len(self.train_loader)} batches" if amid else ""
        logger.info(f"Resuming {self.save_dir} at epoch {self.start_epoch + 1} of {self.epochs}{after}")
        say_processes(ckpt.training, self.group.size, self._options)

    def _count_time_before(self) -> None:
        """Let the time, by which the engine tells how many epochs fit into `--time`, be that of the whole run."""
        if self._seconds_before is not None:
            self.train_time_start -= self._seconds_before
            self._seconds_before = 0.0
            self.start_epoch = 0  # the engine has begun with it, and counts epochs from it

    def newest_checkpoint(self) -> Path | None:
        """Give the file that all processes go back to, None before there is one; all of them ask together."""
        file: Path | None = self.group.share(self._own_checkpoint)  # the first one alone knows what it has written
        return file

    @property
    def _own_checkpoint(self) -> Path | None:
        """This run's newest; a `last.pt` in the folder may be another run's, which `--exist-ok` let stand."""
        return self.last if self._saved else Path(self.args.resume) if self.resume else None

    def save_model(self) -> bool:
        """Write the checkpoints that are due after an epoch."""
        if self.args.time:  # the engine estimates anew only after they are written
            seconds = (time.time() - self.train_time_start) / (self.epoch - self.start_epoch + 1)
            self.args.epochs = math.ceil(self.args.time * 3600 / seconds)
        save_epoch(self, self._options, self._room_wait)
        self._note_saved()
        return True

    def _handle_nan_recovery(self, epoch: int) -> bool:
        """Go back to the newest checkpoint when the fitness is no number; of the losses each step has taken care.

        Raises:
            UserError: There is none, or it was of no use.
        """
        sound = np.isfinite(self.fitness if self.fitness is not None else 0.0)
        spoilt = self.group.any(not bool(sound))
        self._wait_until = time.monotonic() + longest_wait(self.group)  # what is written next no process waits for yet
        if not spoilt:
            return False
        self.sound_steps.go_back(self, "the fitness was no number")
        self.scheduler.last_epoch = epoch - 1
        return True

    def final_eval(self) -> None:
        """Validate the best epoch and make the checkpoints fit for use; `last.pt` is resumed from until all is done."""
        if self.group.share(self.best.exists()):
            if self.group.leads:
                strip(self.best, longest_wait(self.group))
            logger.info(f"\nValidating {self.best}...")
            self.metrics = self.validator(model=load_checkpoint(self.best).build())
            self.metrics.pop("fitness", None)
        if self.group.leads and self.last.exists():
            strip(self.last, longest_wait(self.group))

    def discard_if_unused(self) -> None:
        """Remove the folder of a run that failed before its first epoch, so that the next takes its name."""
        used = self.args.exist_ok or self.resume or self.csv.exists() or self.last.exists()
        if self.group.leads and not used:
            for name in ("args.yaml", "options.yaml", "labels.jpg", LOCK):
                (self.save_dir / name).unlink(missing_ok=True)
            for folder in (self.wdir, self.save_dir):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()


def _frozen(freeze: Any, model: BaseDetector) -> list[Any] | None:
    """Give the names of the parts to hold still: the first `freeze`, or those of a list, by number or by name."""
    parts = model.parts
    known = f"there is no such part; before the head there are 0 to {len(parts) - 1}: {some(parts, 30)}"
    if freeze is None or isinstance(freeze, int):
        if freeze is not None and not 0 <= freeze <= len(parts):
            raise UserError(f"--freeze {freeze}: {known}")
        return parts[: freeze or 0] or None
    names = freeze if isinstance(freeze, (list, tuple)) else [freeze]
    frozen = [parts[name] if type(name) is int and 0 <= name < len(parts) else name for name in names]
    for name in frozen:
        # As the engine finds them; the first of ours has none.
        if name not in parts and not any(f"model.{name}." in parameter for parameter, _ in model.named_parameters()):
            raise UserError(f"--freeze {name}: {known}")
    return frozen
