"""Classification, as the loop knows it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moat_det.backbones.timm.names import is_timm
from moat_det.backbones.weights import load_pretrained
from moat_det.data.seeds import image_seed
from moat_det.errors import UserError
from moat_det.pretraining.backbone import backbone_arguments
from moat_det.pretraining.batches import count_batches, load_batches, shuffled_batches, worker_count
from moat_det.pretraining.classification.augment import AugmentationOptions, BatchAugmentation, PictureAugmentation
from moat_det.pretraining.classification.dataset import PictureDataset, collate
from moat_det.pretraining.classification.folders import ClassData
from moat_det.pretraining.classification.metrics import ClassMetrics
from moat_det.pretraining.classification.model import build_classifier
from moat_det.pretraining.classification.options import ClassifierOptions
from moat_det.pretraining.classification.validation import table, validate, write_validation
from moat_det.pretraining.classification.views import view_tensor
from moat_det.pretraining.loop import seed_all
from moat_det.pretraining.options import LoopOptions, RunPlace
from moat_det.pretraining.task import Batch

logger = logging.getLogger(__name__)

NAME = "classification"


class ClassificationTask:
    """See `Task`.

    Args:
        data: The pictures.
        options: The classifier.
        augmentation: How pictures are changed.
        loop: How it is trained.
        place: Of this, the processes that read images.
        starts: Load the weights that a new training starts from; a run that goes on has its own.

    Attributes:
        names: Of the classes.
        training: What a resumed run needs to make the task again, plain types.

    Raises:
        UserError: The backbone cannot be built, does not take pictures of this size, or the weights do not fit.
    """

    name = NAME
    fitness = "top1"

    def __init__(
        self,
        data: ClassData,
        options: ClassifierOptions,
        augmentation: AugmentationOptions,
        loop: LoopOptions,
        place: RunPlace,
        starts: bool = True,
    ) -> None:
        self.names = data.names
        self.training: dict[str, Any] = {}
        self._options, self._loop, self._place = options, loop, place
        self._arguments = backbone_arguments(options.backbone, options.drop_path)
        if not is_timm(self._arguments["name"]):
            # MOAT's pooling in the shortcuts is another one for classification than for detection, without weights.
            self._arguments.setdefault("pool_size", 2)
        elif options.imgsz % 32:
            raise UserError(f"--imgsz {options.imgsz}: {options.backbone} takes multiples of 32")
        seed_all(loop.seed)
        self.model = build_classifier(self._arguments, len(data.names))
        self.fresh = options.weights is None
        if options.weights is not None and starts:
            for line in load_pretrained(self.model.backbone, options.weights).lines():
                logger.info(line)
        self._intensity = data.intensity
        self._from = {"split": options.split, "seed": loop.seed, **data.contents()}
        change = PictureAugmentation(augmentation, options.imgsz, options.view, self.model.backbone.mean)
        self._learnt = PictureDataset(data.train, data.intensity, change, loop.seed)
        look = partial(view_tensor, options.imgsz, options.view)
        self._measured = PictureDataset(data.val, data.val_intensity, look)
        self._mix = BatchAugmentation(augmentation, len(data.names))

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        return count_batches(len(self._learnt), self._loop.batch)

    def batches(self, epoch: int, skip: int, device: torch.device) -> Iterator[Batch]:
        """Give images, mixed, and the probabilities of their classes."""
        pictures, seed = len(self._learnt), self._loop.seed
        drawn = shuffled_batches(pictures, self._loop.batch, seed, epoch)[skip:]
        loader = load_batches(self._learnt, drawn, worker_count(self._place, device), device, collate)
        for number, (images, classes) in enumerate(loader, start=skip):
            if not len(images):
                raise UserError(f"no picture of a batch of {self._loop.batch} can be read")
            # Behind the numbers of the pictures, so that a batch has a seed of its own.
            mixing = image_seed(seed, epoch, pictures + 1 + number)
            yield self._mix(images.to(device, non_blocking=True), classes.to(device, non_blocking=True), mixing)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Compute the cross entropy."""
        images, targets = batch
        return F.cross_entropy(model(images), targets)

    def measure(self, model: nn.Module, device: torch.device, images: int) -> dict[str, float]:
        """Measure top-1 and top-5 on the pictures of the validation."""
        found = self._validate(model, device, images)
        return {"top1": found.top1, "top5": found.top5}

    def finish(self, model: nn.Module, folder: Path, device: torch.device, images: int) -> None:
        """Write and print what the best epoch is worth."""
        metrics = self._validate(model, device, images)
        write_validation(folder, metrics, self.names)
        print(table(metrics, self.names))

    def _validate(self, model: nn.Module, device: torch.device, images: int) -> ClassMetrics:
        return validate(model, self._measured, images, worker_count(self._place, device), device)

    def about(self) -> Mapping[str, Any]:
        """Say what the model is, for its checkpoint."""
        backbone = self.model.backbone
        return {
            "backbone": self._arguments,
            "imgsz": self._options.imgsz,
            "mean": backbone.mean,
            "std": backbone.std,
            "intensity": self._intensity.to_dict(),
            "settings": {"names": self.names, "view": self._options.view, "learnt": self._from},
        }
