"""Training: the engine's loop with our model, data, optimizer, checkpoints and randomness."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np
import torch
from torch import nn
from ultralytics.cfg import DEFAULT_CFG
from ultralytics.utils.patches import override_configs
from ultralytics.utils.torch_utils import unwrap_model

from moat_det.checks.quick import quick_check
from moat_det.data.augment import Preset
from moat_det.data.config import check_channels, load_dataset
from moat_det.data.dataset import DetectionDataset, build_dataset
from moat_det.data.images.intensity import Intensity
from moat_det.data.loader.loader import Loader, default_workers, killed_workers_explained, make_loader
from moat_det.data.sizes.shape import Shape
from moat_det.detector.build import build_model
from moat_det.engine.checkpoint import Checkpoint
from moat_det.engine.device import use_all_cores
from moat_det.engine.fine_tuning import load_weights, set_backbone_training
from moat_det.engine.inference_options import InferenceOptions
from moat_det.engine.optimizer import build_optimizer
from moat_det.engine.resumable_trainer import ResumableTrainer
from moat_det.engine.train_options import TrainOptions
from moat_det.engine.validator import Validator
from moat_det.errors import UserError

logger = logging.getLogger(__name__)

# With fewer images a step, batch statistics say more about these images than about the data.
MIN_IMAGES_FOR_BATCH_STATISTICS = 4


class Trainer(ResumableTrainer):
    """Trains a detector.

    Args:
        overrides: The engine's arguments; those not given come from `cfg/training/default.yaml` (ours) and the engine.
        options: Our own; None to resume a run, whose checkpoint knows them.
        _callbacks: The user's callbacks, by event.

    Raises:
        UserError: An argument, the data or the checkpoint to resume from is not in order.
    """

    def __init__(
        self,
        cfg: Any = DEFAULT_CFG,
        overrides: dict[str, Any] | None = None,
        _callbacks: dict[str, list[Callable[..., None]]] | None = None,
        options: TrainOptions | None = None,
    ) -> None:
        super().__init__(cfg, overrides, _callbacks)
        use_all_cores()
        # The engine has set none for a CPU, whatever was asked for.
        self.args.workers = default_workers(self.device) if self._workers is None else self._workers
        if self._checkpoint is not None:
            assert self._checkpoint.training is not None
            options = TrainOptions(self._checkpoint.config, **self._checkpoint.training.get("options", {}))
        assert options is not None, "a new training needs options"
        self._options = options
        if not self.resume:
            options.save(self.save_dir / "options.yaml")
        # The engine's mixed precision is float16 with a downloaded model as its test; ours lives in the detector.
        self.mixed = self.args.amp not in {False, "fp32"}
        self.args.amp = False

    @property
    def _shape(self) -> Shape:
        """Height and width that images are scaled to fit into."""
        return self._options.shape or (self.args.imgsz, self.args.imgsz)

    # The model and its data

    def get_dataset(self) -> dict[str, Any]:
        """Read the dataset's YAML; nothing is downloaded or run."""
        data = load_dataset(self.args.data)
        if self.args.split not in data:
            raise UserError(f"--split {self.args.split}: {self.args.data} has no such split to validate on")
        if self.args.single_cls:
            data.update(names={0: "item"}, nc=1)
        if self._checkpoint is not None:
            data["intensity"] = Intensity.from_dict(self._checkpoint.intensity)
        return data

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> DetectionDataset:
        """Index the images and labels of a split."""
        stride = max(int(unwrap_model(self.model).stride.max()), 32)
        dataset = build_dataset(
            self.args,
            img_path,
            batch or self.args.batch,
            self.data,
            mode=mode,
            rect=mode == "val",
            stride=stride,
            shape=self._options.shape,
            preset=Preset(**self._options.augmentation) if self._options.augmentation else None,
            on_broken="replace" if mode == "train" else "gray",
        )
        if mode == "train":
            self.data["intensity"] = dataset.intensity  # the validation's and the checkpoint's from here on
        return dataset

    def get_dataloader(self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train") -> Loader:
        """Make the batches of a split."""
        dataset = self.build_dataset(dataset_path, mode, batch_size)
        train = mode == "train"
        return make_loader(
            dataset,
            batch_size,
            self.args.workers,
            self.device,
            shuffle=train,
            drop_last=train and bool(self.args.compile),
        )

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
                load_weights(self.model, self._options.weights, remap_classes=self.args.cls_remap)
        self.model.prepare(self.device, self.mixed, training=True)
        if isinstance(self.args.freeze, int):
            self.args.freeze = self.model.parts[: self.args.freeze]
        return self._checkpoint

    def set_model_attributes(self) -> None:
        """Give the model what the losses and the checkpoint need."""
        self.model.nc = self.data["nc"]
        self.model.names = dict(self.data["names"])
        self.model.args = self.args

    def get_validator(self) -> Validator:
        """The validator of each epoch and of the end."""
        args = copy(self.args)
        args.amp = self.mixed
        return Validator(
            self.test_loader,
            save_dir=self.save_dir,
            args=args,
            _callbacks=self.callbacks,
            options=InferenceOptions(shape=self._options.shape),
        )

    def build_optimizer(
        self,
        model: nn.Module,
        name: str = "auto",
        lr: float = 0.001,
        momentum: float = 0.9,
        decay: float = 1e-5,
        iterations: float = 1e5,
    ) -> torch.optim.Optimizer:
        """Ours for our models; the engine's for its own, which are here to be compared with as they are."""
        if unwrap_model(model).engine_recipe:
            return super().build_optimizer(model, name, lr, momentum, decay, iterations)
        return build_optimizer(unwrap_model(model), name, lr, momentum, decay, self._options.layer_decay)

    def auto_batch(self) -> int:
        """Find the batch that fills the GPU; the engine tries squares, so one of as many pixels as our shape."""
        with override_configs(self.args, {"imgsz": round(math.sqrt(math.prod(self._shape)))}) as self.args:
            return super().auto_batch()

    def _build_train_pipeline(self) -> None:
        """Make the loaders and the optimizer; the batch may have been chosen, or halved, only now."""
        if self._options.nbs_follows_batch:
            self.args.nbs = self.batch_size
        super()._build_train_pipeline()
        indices = {"train": self.train_loader.dataset.index, self.args.split: self.test_loader.dataset.index}
        for line in quick_check(indices, self.data["names"], self._shape):
            logger.warning(line)

    def _do_train(self) -> None:
        with killed_workers_explained():
            super()._do_train()

    # One epoch

    def _model_train(self) -> None:
        """Start an epoch: training mode, a backbone held or not, and randomness that depends on (seed, epoch) alone.

        A resumed run then draws what the uninterrupted one would have drawn.
        """
        super()._model_train()
        model = unwrap_model(self.model)
        if self._options.freeze_backbone:
            set_backbone_training(model.backbone, self.optimizer, self.epoch >= self._options.freeze_backbone)
        norms = [] if model.engine_recipe else model.modules()
        self._batch_norms = [m for m in norms if isinstance(m, nn.BatchNorm2d) and m.training]
        seed = int(np.random.SeedSequence([self.args.seed, self.epoch]).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        self.train_loader.start_epoch(self.epoch)

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Move the batch to the device, and hold the BN statistics where it is too small to have any."""
        batch = super().preprocess_batch(batch)
        enough = len(batch["img"]) >= MIN_IMAGES_FOR_BATCH_STATISTICS
        for module in self._batch_norms:
            module.train(enough)
        return batch

    def save_metrics(self, metrics: dict[str, Any]) -> None:
        """Append the epoch's row to `results.csv`.

        Layer decay has two learning rates a layer: the first two, of neck and head, tell the others.
        """
        if self._options.layer_decay != 1:
            others = self.lr.keys() - {"lr/pg0", "lr/pg1"}
            metrics = {key: value for key, value in metrics.items() if key not in others}
        super().save_metrics(metrics)

    def discard_if_unused(self) -> None:
        """Remove the folder of a run that failed before its first epoch, so that the next takes its name."""
        if not self.args.exist_ok and not self.resume and not self.csv.exists():
            for name in ("args.yaml", "options.yaml", "labels.jpg"):
                (self.save_dir / name).unlink(missing_ok=True)
            for folder in (self.wdir, self.save_dir):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
