"""Our own options of validation and prediction, apart from the engine's arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from moat_det.anomaly.options import HeatmapOptions
from moat_det.backbones.windows import POSITIONS, WINDOW, WindowSpec, read_window
from moat_det.data.sizes.imgsz import AUTO, take_shape
from moat_det.data.sizes.policy import SizePolicy, size_policy
from moat_det.data.sizes.shape import NATIVE, Shape
from moat_det.detection.shards import SHARD, check_alone
from moat_det.engine.arguments import check_batch
from moat_det.engine.tracking.options import Tracking
from moat_det.errors import UserError
from moat_det.evaluation.inspection.operating_point import OperatingPoint
from moat_det.evaluation.options import MeasuringOptions
from moat_det.options import option, options_of
from moat_det.values import is_count

T = TypeVar("T", bound="InferenceOptions")
LEAST_PIXELS = 32 * 32  # one cell of the coarsest level


@dataclass(frozen=True)
class InferenceOptions:
    """Our own options of validation and prediction; the engine's `args` refuse keys that they do not know.

    Attributes:
        native: Take each image at its own size instead of scaling it to `imgsz`.
        shape: Height and width in pixels that each image is scaled and padded to, instead of a rectangle with the
            longer side `imgsz`.
        max_pixels: At native size, scale images of more pixels down to as many.
        window: Attention windows instead of those of the training (see `backbones.windows`).
        position: What becomes of the position tables in larger windows than the training's: "stretch" or "clamp".
        class_conf: The least score of a detection of each class, where they differ.

    Raises:
        UserError: A value is out of its range, or needs another option.
    """

    native: bool = False
    shape: Shape | None = None
    max_pixels: int | None = option(None, "with --imgsz native, scale images of more pixels down to as many")
    window: WindowSpec | None = option(None, WINDOW, takes="str")
    position: str | None = option(None, "position tables in windows larger than the training's: stretch or clamp")
    class_conf: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        if self.position not in (None, *POSITIONS):
            raise UserError(f"--position {self.position}: must be {' or '.join(POSITIONS)}")
        if self.max_pixels is None:
            return
        if not self.native:
            raise UserError(f"--max-pixels {self.max_pixels}: it bounds the images' own size, so add --imgsz native")
        if not is_count(self.max_pixels, LEAST_PIXELS):
            raise UserError(
                f"--max-pixels {self.max_pixels}: must be {LEAST_PIXELS} pixels (32 x 32) or more, e.g. 20000000"
            )

    def sizes(self, imgsz: int, stride: int, rect: bool = True) -> SizePolicy:
        """Give the policy of the images' sizes.

        Args:
            imgsz: The longer side, where these options name no other size.
            stride: The model's largest.
            rect: Rectangles instead of squares, where it is the longer side that counts.
        """
        given = NATIVE if self.native else self.shape or imgsz
        return size_policy(given, stride, rect=rect, max_pixels=self.max_pixels)

    @classmethod
    def take(cls: type[T], arguments: dict[str, Any]) -> T:
        """Take them out of keyword arguments; of `imgsz`, "native" and two numbers are ours."""
        check_batch(arguments.get("batch"))
        native = arguments.get("imgsz") == NATIVE
        if native:
            del arguments["imgsz"]
        if arguments.get("imgsz") == AUTO:
            raise UserError("--imgsz auto is for training; the shape of the training is taken where none is given")
        shape = take_shape(arguments)
        given = {name: arguments.pop(name) for name in options_of(cls) if name in arguments}
        given = {name: value for name, value in given.items() if value is not None}
        if "window" in given:
            given["window"] = read_window(given["window"])
        return cls(native=native, shape=shape, **given)


@dataclass(frozen=True)
class DetectionOptions(InferenceOptions, HeatmapOptions):
    """Our own options of prediction.

    Attributes:
        operating_point: The file that a validation wrote, by which each part gets a verdict.
        point: What it holds.
        tracking: How defects are followed; None where each image is by itself.
        shard: The part of the images to detect in, as `Shard.read` takes it; None: all.
    """

    operating_point: str | None = option(
        None,
        "operating_point.json of moat val: a verdict on each part, by its thresholds",
        metavar="FILE",
    )
    point: OperatingPoint | None = None
    tracking: Tracking | None = None
    shard: str | None = option(None, SHARD, metavar="I/N")

    def __post_init__(self) -> None:
        """Check the values."""
        InferenceOptions.__post_init__(self)
        HeatmapOptions.__post_init__(self)
        check_alone(self.shard, {"operating_point": self.point, "heatmap": self.heatmap})


@dataclass(frozen=True)
class ValidationOptions(InferenceOptions, MeasuringOptions):
    """Our own options of validation."""

    def __post_init__(self) -> None:
        """Check the values."""
        InferenceOptions.__post_init__(self)
        MeasuringOptions.__post_init__(self)
