"""The batches that a training begins its epochs with, and pictures of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from moat_det.data.images.shown import shown_bands
from moat_det.engine.model import MOAT
from moat_det.errors import UserError
from moat_det.report.pictures import draw_boxes


def first_batches(
    model: MOAT, options: Mapping[str, Any], epochs: Sequence[int]
) -> Iterator[tuple[dict[str, Any], dict[int, str]]]:
    """Give the first batch of each of some epochs of a training, before it is put on the device.

    Args:
        model: What is trained.
        options: Arguments of `MOAT.train`.
        epochs: Numbers from 0 on, in ascending order.

    Yields:
        The engine's batch (`img` uint8 (B, C, H, W), `cls`, `bboxes`, `batch_idx`, ...) and the names of the classes.

    Raises:
        UserError: An argument or the dataset is not in order, or the training has no such epoch.
    """
    if options.get("resume"):
        raise UserError("--resume: give the options of the run instead, which are in its args.yaml and options.yaml")
    with tempfile.TemporaryDirectory() as folder:
        trainer = model.make_trainer(**{**options, "project": folder, "name": None})  # whatever the run is called
        if trainer.batch_size < 1:
            raise UserError(f"--batch {trainer.batch_size}: give the number of images, here")
        trainer.model = model.model
        loader = trainer.get_dataloader(trainer.data["train"], trainer.batch_size, rank=-1, mode="train")
        trainer.train_loader = loader
        if max(epochs) >= trainer.epochs:
            raise UserError(f"--epoch {max(epochs)}: the epochs of this training are 0 to {trainer.epochs - 1}")
        closing = trainer.epochs - trainer.args.close_mosaic
        for epoch in epochs:
            if trainer.args.close_mosaic and epoch >= closing:
                trainer._close_dataloader_mosaic()
            loader.reset()
            loader.start_epoch(epoch)
            yield next(iter(loader)), trainer.data["names"]
        loader.close()


def draw(batch: dict[str, Any], names: dict[int, str], note: str = "") -> list[np.ndarray]:
    """Draw the images of a batch with their boxes and the names of their classes.

    Args:
        batch: As `first_batches` gives it.
        names: Class id to name.
        note: Is written into a corner of each image.

    Returns:
        (H, W, 3) uint8 each, RGB; of other bands what `shown_bands` takes.
    """
    pictures = []
    owners, classes = batch["batch_idx"].numpy(), batch["cls"].numpy()[:, 0].astype(int)
    for number, image in enumerate(batch["img"].numpy()):
        height, width = image.shape[1:]
        mine = owners == number
        centre, side = np.split(batch["bboxes"].numpy()[mine] * ([width, height] * 2), 2, axis=1)
        boxes = np.hstack([centre - side / 2, centre + side / 2])
        texts = [names[cls] for cls in classes[mine]]
        picture = draw_boxes(shown_bands(image.transpose(1, 2, 0)), boxes, texts, classes[mine].tolist())
        if note:
            corner = np.array([[0, height - 1, 0, height - 1]])
            picture = draw_boxes(picture, corner, [note], [0])
        pictures.append(picture)
    return pictures
