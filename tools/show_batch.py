"""Draw the training images as the model will see them: augmented, with their boxes, from the trainer's own loader.

    python tools/show_batch.py --data defects.yaml --augmentation surface --copy-paste 0.5 --out batch.jpg

takes every option of train.py beside --out, --epoch and --columns, and draws the batch that the training with these
options begins an epoch with. (--multi-scale, which resizes whole batches later, is not drawn.)
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from moat_det.engine.arguments import Arguments, parse_arguments
from moat_det.engine.cli import DEFAULT_BACKBONE
from moat_det.engine.model import MOAT
from moat_det.errors import UserError
from moat_det.files import atomic_write_bytes
from moat_det.report.pictures import draw_boxes, sheet

_SIDE = 640  # of a picture on the sheet, at most


def batches(arguments: Arguments, epochs: Sequence[int]) -> Iterator[tuple[dict[str, Any], dict[int, str]]]:
    """Give the first batch of each of some epochs of a training, before it is put on the device.

    Args:
        arguments: Those of train.py.
        epochs: Numbers from 0 on, in ascending order.

    Yields:
        The engine's batch (`img` uint8 (B, C, H, W), `cls`, `bboxes`, `batch_idx`, ...) and the names of the classes.

    Raises:
        UserError: An argument or the dataset is not in order, or the training has no such epoch.
    """
    engine, own = dict(arguments.engine), dict(arguments.own)
    if engine.pop("resume", None):
        raise UserError("--resume: give the options of the run instead, which are in its args.yaml and options.yaml")
    model = MOAT(engine.pop("model", None) or own.pop("backbone", None) or DEFAULT_BACKBONE)
    with tempfile.TemporaryDirectory() as folder:
        trainer = model.make_trainer(**{**engine, **own, "project": folder, "name": None})  # whatever the run is called
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
        batch: As `batches` gives it.
        names: Class id to name.
        note: Is written into a corner of each image.

    Returns:
        (H, W, 3) uint8 each, RGB; of images of other than one or three bands the first, the middle and the last.
    """
    pictures = []
    owners, classes = batch["batch_idx"].numpy(), batch["cls"].numpy()[:, 0].astype(int)
    for number, image in enumerate(batch["img"].numpy()):
        bands, height, width = image.shape
        mine = owners == number
        centre, side = np.split(batch["bboxes"].numpy()[mine] * ([width, height] * 2), 2, axis=1)
        boxes = np.hstack([centre - side / 2, centre + side / 2])
        texts = [names[cls] for cls in classes[mine]]
        picture = draw_boxes(image[[0, bands // 2, bands - 1]].transpose(1, 2, 0), boxes, texts, classes[mine].tolist())
        if note:
            corner = np.array([[0, height - 1, 0, height - 1]])
            picture = draw_boxes(picture, corner, [note], [0])
        pictures.append(picture)
    return pictures


def _epochs(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts):
        raise UserError(f"--epoch {text}: give numbers from 0 on, such as 0,1,99")
    return sorted(map(int, parts))


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", required=True, type=Path, help="the picture to write, .jpg or .png")
    parser.add_argument("--epoch", default="0", help="which epochs, from 0 on, such as 0,1,99 (default: 0)")
    parser.add_argument("--columns", type=int, help="pictures in a row (default: as makes the sheet a square)")
    ours, rest = parser.parse_known_args(words)
    try:
        if ours.out.suffix not in {".jpg", ".png"}:
            raise UserError(f"--out {ours.out}: must end in .jpg or .png")
        if ours.columns is not None and ours.columns < 1:
            raise UserError(f"--columns {ours.columns}: must be 1 or more")
        epochs, pictures = _epochs(ours.epoch), []
        drawn_epochs = batches(parse_arguments("train", rest), epochs)
        for epoch, (batch, names) in zip(epochs, drawn_epochs, strict=True):
            pictures += draw(batch, names, f"epoch {epoch}" if len(epochs) > 1 else "")
        height, width = pictures[0].shape[:2]
        scale = min(_SIDE / max(height, width), 1)
        columns = ours.columns or max(round(math.sqrt(len(pictures) * height / width)), 1)
        drawn = sheet(pictures, columns, (round(height * scale), round(width * scale)))
        encoded = cv2.imencode(ours.out.suffix, cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))[1]
        try:
            atomic_write_bytes(ours.out, encoded.tobytes())
        except OSError as error:
            raise UserError(f"--out {ours.out}: cannot be written: {error.strerror or error}; name another") from error
        print(f"{len(pictures)} images of {height} x {width} (height x width) drawn in {ours.out}")
    except UserError as error:
        print(f"show_batch: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
