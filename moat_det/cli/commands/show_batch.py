"""`moat show-batch`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import cv2

from moat_det.cli.command import Arguments, Command
from moat_det.cli.commands import train
from moat_det.detection.pictures import write_picture
from moat_det.engine.batches import draw, first_batches
from moat_det.errors import UserError
from moat_det.files import check_writable
from moat_det.options import option
from moat_det.report.pictures import sheet

_SIDE = 640  # of a picture on the sheet, at most


@dataclass(frozen=True)
class PictureOptions:
    """What is drawn where."""

    out: Path = option(..., "the picture to write, .jpg or .png", metavar="FILE")
    epoch: str = option("0", "which epochs, from 0 on, such as 0,1,99", metavar="N,...")
    columns: int | None = option(None, "pictures in a row (default: as makes the sheet a square)", metavar="N")

    def __post_init__(self) -> None:
        """Check the values."""
        if self.out.suffix not in {".jpg", ".png"}:
            raise UserError(f"--out {self.out}: must end in .jpg or .png")
        if self.columns is not None and self.columns < 1:
            raise UserError(f"--columns {self.columns}: must be 1 or more")
        if not all(part.isdecimal() for part in self.epoch.split(",")):
            raise UserError(f"--epoch {self.epoch}: give numbers from 0 on, such as 0,1,99")


def _run(arguments: Arguments) -> None:
    options = arguments.take(PictureOptions)
    check_writable(options.out.parent)  # before the data are read
    model = train.new_model(arguments)
    arguments.take(train.Processes)  # how many train changes no picture
    epochs, pictures = sorted(map(int, options.epoch.split(","))), []
    drawn_epochs = first_batches(model, {**arguments.engine, **arguments.own}, epochs)
    for epoch, (batch, names) in zip(epochs, drawn_epochs, strict=True):
        pictures += draw(batch, names, f"epoch {epoch}" if len(epochs) > 1 else "")
    height, width = pictures[0].shape[:2]
    scale = min(_SIDE / max(height, width), 1)
    columns = options.columns or max(round(math.sqrt(len(pictures) * height / width)), 1)
    drawn = sheet(pictures, columns, (round(height * scale), round(width * scale)))
    place, suffix = options.out.with_suffix(""), options.out.suffix
    file = write_picture(place, cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR), suffix=suffix)
    print(f"{len(pictures)} images of {height} x {width} (height x width) drawn in {file}")


COMMAND = Command(
    name="show-batch",
    run=_run,
    check=train.COMMAND.check,
    options=(PictureOptions, *train.COMMAND.options),
    about="It takes the options of moat train, and draws the batch that the training with these options begins an "
    "epoch with. (--multi-scale and --progressive, which resize whole batches later, are not drawn.)",
    usage="--data DATA --out FILE [--epoch 0,1,99] [--columns N] [--augmentation surface --copy-paste 0.5 ...]",
    examples=("show-batch --data defects.yaml --augmentation surface --copy-paste 0.5 --out batch.jpg",),
    engine=replace(train.ENGINE, without="resume"),
)
