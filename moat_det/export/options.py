"""What a user may say of an export."""

from __future__ import annotations

from dataclasses import dataclass

from moat_det.backbones.windows import POSITIONS, WINDOW, WindowSpec
from moat_det.errors import UserError
from moat_det.export.formats import FORMATS, REFUSED
from moat_det.messages import as_given
from moat_det.options import option
from moat_det.values import is_count

EXACT_IMAGES, JUDGED_IMAGES = 16, 200
"""How many images are compared unless the user says: raw outputs of f32, and AP of the others."""


@dataclass(frozen=True)
class ExportOptions:
    """What is written, and what it is compared on.

    Attributes:
        format: A key of `FORMATS`.
        imgsz: Height and width of every input, or the side of a square; with `dynamic` the longer side that images are
            scaled to; None for that of the training.
        window: The attention windows instead of those that the checkpoint takes at that size.
        position: The form of the position tables instead.
        dynamic: Whether inputs may vary in size.
        precision: What the file computes in.
        data: The dataset whose images it is compared on.
        split: Of it.
        images: How many of them; None for `EXACT_IMAGES`, or `JUDGED_IMAGES`.
        calibration: How many images of the training split INT8 measures ranges on.
        out: The folder to write.

    Raises:
        UserError: A value is out of its range, or at odds with another.
    """

    format: str = option("onnx", " or ".join(FORMATS))
    imgsz: list[int] | None = option(None, "height and width of the inputs, or a side (as trained)", metavar="H W")
    window: WindowSpec | None = option(None, WINDOW, takes="str")
    position: str | None = option(None, "position tables in windows larger than the training's: stretch or clamp")
    dynamic: bool = option(False, "inputs may vary in size and number; one policy of windows for all of them")
    precision: str = option("f32", "f32; with openvino also bf16, f16 or int8")
    data: str = option("demo", "dataset YAML whose images the file is compared on", metavar="YAML")
    split: str = option("val", "of the dataset, to compare on")
    images: int | None = option(
        None, f"how many images to compare on ({EXACT_IMAGES} in f32, else {JUDGED_IMAGES})", metavar="N"
    )
    calibration: int = option(300, "how many images of the training split INT8 measures ranges on", metavar="N")
    out: str | None = option(None, "folder to write (default: WEIGHTS_FORMAT beside the weights)", metavar="DIR")

    def __post_init__(self) -> None:
        """Check the values."""
        if self.format in REFUSED:
            raise UserError(f"--format {self.format} is not written: {REFUSED[self.format]}")
        if self.format not in FORMATS:
            raise UserError(f"--format {as_given(self.format)}: must be {' or '.join(FORMATS)}")
        format = FORMATS[self.format]
        if self.precision not in format.precisions:
            raise UserError(
                f"--precision {as_given(self.precision)}: {self.format} takes {' or '.join(format.precisions)}"
            )
        if self.dynamic and not format.dynamic:
            raise UserError(f"--dynamic: {self.format} files are traced at one size; take --format onnx or openvino")
        if self.position not in (None, *POSITIONS):
            raise UserError(f"--position {self.position}: must be {' or '.join(POSITIONS)}")
        for name in ("images", "calibration"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise UserError(f"--{name} {number}: must be 1 or more")
        sides = self.imgsz if isinstance(self.imgsz, (list, tuple)) else [self.imgsz] if self.imgsz else []
        if self.imgsz is not None and (not 1 <= len(sides) <= 2 or not all(is_count(s, 64) for s in sides)):
            raise UserError(
                f"--imgsz {' '.join(map(str, sides))}: give height and width, or a side, of 64 or more: 256 2048"
            )
        object.__setattr__(self, "imgsz", list(sides) or None)
