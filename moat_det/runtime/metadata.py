"""What an exported file must say of itself for its answers to be right."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from moat_det.data.images.intensity import Intensity
from moat_det.data.sizes.policy import FixedSize, SizePolicy, size_policy
from moat_det.data.sizes.shape import Shape, round_up
from moat_det.errors import UserError

FILE = "metadata.json"
VERSION = 1
"""Counts what a reader of an older version would misread."""

LEAST_SIDE = 64
"""Of an input, in pixels: the coarsest map has two cells a side then, and OpenVINO's pooling wants as many."""


class SizeNotTaken(UserError):
    """A file takes no input of the size that an image has; the message says which would do."""


@dataclass(frozen=True)
class Metadata:
    """The facts that go with an exported model.

    Attributes:
        artefact: `VERSION` of what wrote it.
        format: "onnx", "openvino" or "torchscript".
        file: The model's file in the folder.
        precision: What it computes in: "f32", "bf16", "f16" or "int8".
        names: Class index -> name, a list.
        channels: Bands of an image.
        strides: Pixels per cell of each level, the finest first.
        shape: Height and width in pixels of every input; None where they may vary.
        imgsz: The longer side that images are scaled to where they may vary.
        largest: Height and width that an input may have where they may vary; None for any.
        window: The attention windows: their policy and form of position tables; empty for a model without.
        intensity: How more than 8 bits become 8, as `Intensity.to_dict` gives it.
        padding: The value of padding, 0 to 255.
        mean: Of the normalisation inside the file, per band, in [0, 1]; None for none.
        std: The same.
        conf: Least score that is shown unless the user says another.
        iou: Overlap above which the weaker of two boxes goes.
        max_det: Most detections in an image.
        memory: Bytes that a pass is predicted to need for a pixel, and for the square of the pixels, of each image.
        weights: The checkpoint's name and SHA-256.
        versions: Of moat_det and of the packages that wrote the file.
        chosen_on: Digest of the images that the weights were chosen by; None where the checkpoint does not say.
    """

    artefact: int
    format: str
    file: str
    precision: str
    names: list[str]
    channels: int
    strides: list[int]
    shape: Shape | None
    imgsz: int
    largest: Shape | None
    window: dict[str, Any]
    intensity: dict[str, Any]
    padding: int
    mean: list[float] | None
    std: list[float] | None
    conf: float
    iou: float
    max_det: int
    memory: list[float]
    weights: dict[str, str]
    versions: dict[str, str]
    chosen_on: str | None = None

    @classmethod
    def read(cls, folder: Path) -> Metadata:
        """Read those of an artefact.

        Args:
            folder: That holds it.

        Raises:
            UserError: There are none, or of another version, or incomplete.
        """
        file = folder / FILE
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(
                f"{folder} has no {FILE}: give the folder that `moat export` wrote, with all that lies in it"
            ) from None
        except (OSError, ValueError) as error:
            raise UserError(f"{file} cannot be read ({error}): export the checkpoint again") from None
        if not isinstance(content, Mapping) or not isinstance(content.get("artefact"), int):
            raise UserError(f"{file} is not what `moat export` writes: export the checkpoint again")
        if content["artefact"] != VERSION:
            raise UserError(
                f"{file} is of version {content['artefact']}, this moat_det reads version {VERSION}: "
                "export the checkpoint with the moat_det that is to run it"
            )
        missing = [field.name for field in fields(cls) if field.name not in content and field.default is MISSING]
        if missing:
            raise UserError(f"{file} lacks {', '.join(missing)}: export the checkpoint again")
        known = {field.name: content[field.name] for field in fields(cls) if field.name in content}
        for name in ("shape", "largest"):
            known[name] = None if known[name] is None else tuple(known[name])
        return cls(**known)

    def to_dict(self) -> dict[str, Any]:
        """Give them as JSON knows it."""
        return asdict(self)

    @property
    def stride(self) -> int:
        """The largest, of which both sides of an input are multiples."""
        return max(*self.strides, 32)

    def level_sizes(self, height: int, width: int) -> list[int]:
        """Count the anchor points of each level of an input."""
        return [(height // stride) * (width // stride) for stride in self.strides]

    def sizes(self, imgsz: int | Shape | str | None = None, max_pixels: int | None = None) -> SizePolicy:
        """Say how images are scaled and padded.

        Args:
            imgsz: The longer side, or height and width, or "native", of a file whose inputs may vary; None for the
                file's own.
            max_pixels: With "native", images of more pixels are scaled down to as many.

        Raises:
            UserError: The file takes no such input.
        """
        if self.shape is not None:
            if imgsz is not None and (isinstance(imgsz, str) or self._whole(imgsz) != tuple(self.shape)):
                raise UserError(
                    f"--imgsz {_words(imgsz)}: {self.file} takes {self.shape[0]} x {self.shape[1]} alone; leave it "
                    "out, or export with this size or with --dynamic"
                )
            return FixedSize(self.shape, self.stride)
        return size_policy(imgsz or self.imgsz, self.stride, rect=True, max_pixels=max_pixels)

    def check(self, height: int, width: int) -> None:
        """Raise SizeNotTaken where the file takes no such input, or attends otherwise than its checkpoint."""
        if self.shape is None and min(height, width) < LEAST_SIDE:
            raise SizeNotTaken(
                f"an input of {height} x {width} is narrower than the {LEAST_SIDE} pixels that {self.file} takes: "
                "give a larger --imgsz"
            )
        if self.largest is not None and (height > self.largest[0] or width > self.largest[1]):
            raise SizeNotTaken(
                f"an input of {height} x {width} is larger than {self.largest[0]} x {self.largest[1]}, up to which "
                f"{self.file} attends as its checkpoint does: give a smaller --imgsz, or export with --window"
            )

    def needed_memory(self, pixels: int) -> float:
        """Predict the bytes that a pass over an image of so many pixels needs."""
        return self.memory[0] * pixels + self.memory[1] * pixels**2

    def read_intensity(self) -> Intensity:
        """Give how images are read."""
        return Intensity.from_dict(self.intensity)

    def _whole(self, imgsz: int | Shape) -> Shape:
        return round_up((imgsz, imgsz) if isinstance(imgsz, int) else imgsz, self.stride)


def _words(imgsz: int | Shape | str) -> str:
    return " ".join(map(str, imgsz)) if isinstance(imgsz, tuple) else str(imgsz)
