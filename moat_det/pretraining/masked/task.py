"""What the loop is told of a training by hidden patches."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from moat_det.backbones.create import create_backbone
from moat_det.backbones.weights import load_pretrained
from moat_det.engine.batch_plots import left_out_without_room
from moat_det.pretraining.batches import (
    Draw,
    count_batches,
    load_batches,
    ordered_batches,
    shuffled_batches,
    worker_count,
)
from moat_det.pretraining.identity import identity
from moat_det.pretraining.masked.crops import Crops
from moat_det.pretraining.masked.model import STRIDES, MaskedModel, losses, targets
from moat_det.pretraining.masked.options import MaskedOptions
from moat_det.pretraining.masked.pictures import Pictures
from moat_det.pretraining.masked.reconstructions import draw_reconstructions
from moat_det.pretraining.options import LoopOptions, RunPlace
from moat_det.pretraining.task import Batch

logger = logging.getLogger(__name__)

NAME = "pretrain"
_MEASURED, _DRAWN = 64, 8  # pictures
_SHEETS = 10  # in a run, about
_NO_EPOCH = 2**31 - 1  # whose crops are measured


class MaskedTask:
    """Learning by hidden patches; see `Task`.

    Args:
        backbone: The arguments of `create_backbone`, `name` among them.
        pictures: What to learn from.
        options: What learns.
        loop: How.
        place: Of this, the processes that read pictures.
        starts: Load the weights that a new training starts from; a run that goes on has its own.

    Attributes:
        model: Backbone and decoders.
        training: What makes the task again in a run that goes on.
        folder: Where sheets are drawn; none are where it is None.

    Raises:
        UserError: The backbone cannot be built, or its weights are missing or of another one.
    """

    name = NAME
    fitness = ""

    def __init__(
        self,
        backbone: Mapping[str, Any],
        pictures: Pictures,
        options: MaskedOptions,
        loop: LoopOptions,
        place: RunPlace,
        starts: bool = True,
    ) -> None:
        self._backbone, self._pictures, self._options, self._loop = dict(backbone), pictures, options, loop
        self._place = place
        self._epoch = 0
        self.training = {
            "masked": {**asdict(options), "source": os.path.abspath(str(options.source))},
            "loop": asdict(loop),
            **identity(pictures.names),
        }
        self.folder: Path | None = None
        network = create_backbone(**self._backbone, in_channels=pictures.channels)
        network.init_weights()
        self.fresh = options.weights is None
        if options.weights is not None and starts:
            for line in load_pretrained(network, options.weights).lines():
                logger.info(line)
        self.model = MaskedModel(network, pictures.channels)
        self._crops = Crops(pictures, options.imgsz, options.mask_ratio, loop.seed)
        chosen = np.linspace(0, len(pictures.paths) - 1, min(_MEASURED, len(pictures.paths))).round().astype(int)
        self._measured = [(_NO_EPOCH, int(index)) for index in chosen]

    def __len__(self) -> int:
        """Count the batches of an epoch; a last one that is not full is left out, as each epoch leaves out others."""
        return count_batches(len(self._crops), self._loop.batch)

    def batches(self, epoch: int, skip: int, device: torch.device) -> Iterator[Batch]:
        """Give squares and masks, from batch `skip` of an epoch on."""
        self._epoch = epoch
        return self._load(shuffled_batches(len(self._crops), self._loop.batch, self._loop.seed, epoch)[skip:], device)

    def _load(self, batches: list[list[Draw]], device: torch.device) -> Iterator[Batch]:
        for images, masks in load_batches(self._crops, batches, worker_count(self._place, device), device):
            yield images.to(device, non_blocking=True), masks.to(device, non_blocking=True)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Give the mean error over the three maps."""
        images, masks = batch
        return losses(model(images, masks), images, masks).mean()

    def measure(self, model: nn.Module, device: torch.device, images: int) -> dict[str, float]:
        """Give the error of each map on the same squares after each epoch, and draw some of them now and then.

        Returns:
            `stride8`, `stride16` and `stride32`; and `mean_gray`, the error of who says the mean of each picture.
        """
        sums, count = torch.zeros(len(STRIDES) + 1), 0
        for squares, masks in self._load(ordered_batches(self._measured, images), device):
            found = losses([*model(squares, masks), torch.zeros_like(targets(squares)[0])], squares, masks)
            sums, count = sums + found.cpu() * len(squares), count + len(squares)
        self._draw(model, device)
        names = [*(f"stride{stride}" for stride in STRIDES), "mean_gray"]
        return dict(zip(names, (sums / count).tolist(), strict=True))

    def _draw(self, model: nn.Module, device: torch.device) -> None:
        last = self._epoch + 1 == self._loop.epochs
        if self.folder is None or not (last or self._epoch % max(math.ceil(self._loop.epochs / _SHEETS), 1) == 0):
            return
        shown = self._measured[:: max(len(self._measured) // _DRAWN, 1)][:_DRAWN]
        ((images, masks),) = self._load([shown], device)
        assert isinstance(model, MaskedModel)
        file = self.folder / "reconstructions" / f"epoch{self._epoch + 1:04}.jpg"
        with left_out_without_room(file):
            draw_reconstructions(model, images, masks, file)

    @torch.no_grad()
    def finish(self, model: nn.Module, folder: Path, device: torch.device, images: int) -> None:
        """Take the batch norms' statistics anew, from pictures that nothing is hidden of, as a detector gets them."""
        assert isinstance(model, MaskedModel)
        torch.manual_seed(self._loop.seed)
        whole = nn.Sequential(model.normalize, model.backbone)
        batches = shuffled_batches(len(self._crops), images, self._loop.seed, _NO_EPOCH)
        torch.optim.swa_utils.update_bn((squares for squares, _ in self._load(batches, device)), whole)

    def about(self) -> Mapping[str, Any]:
        """Say what the model is."""
        network = self.model.backbone
        return {
            "backbone": self._backbone,
            "imgsz": self._options.imgsz,
            "mean": network.mean,
            "std": network.std,
            "intensity": self._pictures.intensity.to_dict(),
            "settings": {"mask_ratio": self._options.mask_ratio},
        }
