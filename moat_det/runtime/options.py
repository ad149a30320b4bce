"""What a user may say of a detection or a validation with an exported model: the names are those of a checkpoint's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moat_det.data.sizes.shape import NATIVE
from moat_det.detection.shards import SHARD, check_alone
from moat_det.detection.thresholds import CONF
from moat_det.errors import UserError
from moat_det.evaluation import LEAST_SCORE
from moat_det.evaluation.options import MeasuringOptions
from moat_det.options import option
from moat_det.values import is_count

REFUSED = {
    "window": "its attention windows are in the file: moat export --window",
    "position": "its position tables are in the file: moat export --position",
    "quantize": "its precision is that of the file: moat export --precision",
    "half": "its precision is that of the file: moat export --precision f16",
    "amp": "its precision is that of the file: moat export --precision",
    "int8": "its precision is that of the file: moat export --precision int8",
    "augment": "the file holds one pass; test-time augmentation needs the checkpoint",
    "compile": "the file is compiled by its runtime already",
    "visualize": "it draws what lies inside a model, which needs the checkpoint",
    "save_crop": "crops need the checkpoint",
    "save_frames": "videos need the checkpoint",
    "vid_stride": "videos need the checkpoint",
    "stream_buffer": "cameras need the checkpoint",
    "show": "windows on the screen need the checkpoint",
    "workers": "images are read by threads beside the model, as many as there are cores",
    "verbose": "it says nothing of single images",
    "rect": "a file of one shape takes that shape, one whose inputs vary takes rectangles",
    "cfg": "give the options themselves",
}
"""Options that a checkpoint takes and an exported model cannot serve, and why."""

REFUSED_IN_DETECTION = {
    **REFUSED,
    "ray": "actors of Ray need the checkpoint; processes share the images out by --shard",
    "heatmap": "heat maps look inside the model, which needs the checkpoint",
    "good_parts": "heat maps look inside the model, which needs the checkpoint",
    "save_maps": "heat maps look inside the model, which needs the checkpoint",
}
"""The same with those that a checkpoint takes in detection alone."""


@dataclass(frozen=True, kw_only=True)
class RuntimeOptions:
    """What holds for detection and validation.

    Raises:
        UserError: A value is out of its range.
    """

    weights: str = option(..., "the folder that moat export wrote, or the model's file in it")
    imgsz: int | list[int] | str | None = option(
        None,
        "where the file's inputs vary: longer side in pixels, or height and width, or native: the images' own size",
        takes="int | list[int] | native",
        metavar="N",
    )
    max_pixels: int | None = option(None, "with --imgsz native, scale images of more pixels down to as many")
    batch: int = option(1, "images of one shape that go through the model together, where the file's inputs vary")
    device: str = option("cpu", "exported models run on the CPU", takes="str | int")
    iou: float | None = option(None, "overlap above which the weaker of two boxes goes (default: the file's)")
    max_det: int | None = option(None, "most detections in an image (default: the file's)")
    agnostic_nms: bool | None = option(None, "boxes suppress those of other classes too (default: they do not)")
    classes: list[int] | None = option(None, "only these, by their numbers", metavar="N ...")
    project: str | None = option(None, "folder of the runs (default: runs)")
    name: str | None = option(None, "of the run's folder")
    exist_ok: bool = option(False, "write into a folder that exists")

    def __post_init__(self) -> None:
        """Check the values."""
        sides = self.sides
        if isinstance(sides, tuple) and (not 1 <= len(sides) <= 2 or not all(map(is_count, sides))):
            raise UserError(
                f"--imgsz {' '.join(map(str, sides))}: give the longer side, --imgsz 640, or height and width, "
                "--imgsz 256 2048"
            )
        if self.max_pixels is not None and sides != NATIVE:
            raise UserError(f"--max-pixels {self.max_pixels}: it bounds the images' own size, so add --imgsz native")
        if self.max_pixels is not None and self.max_pixels < 32 * 32:
            raise UserError(f"--max-pixels {self.max_pixels}: must be 1024 pixels (32 x 32) or more, e.g. 20000000")
        if str(self.device).lower() != "cpu":
            raise UserError(
                f"--device {self.device}: an exported model runs on the CPU: leave it out, or give the checkpoint"
            )
        if self.iou is not None and not 0 <= self.iou <= 1:
            raise UserError(f"--iou {self.iou:g}: must be from 0 to 1")
        for name, value in {"batch": self.batch, "max-det": 1 if self.max_det is None else self.max_det}.items():
            if value < 1:
                raise UserError(f"--{name} {value}: must be a whole number, 1 or more")
        if self.classes is not None and any(number < 0 for number in self.classes):
            raise UserError(f"--classes {' '.join(map(str, self.classes))}: must be numbers of classes, 0 or more")

    @property
    def size(self) -> Any:
        """What `load` takes of `imgsz`: a longer side, height and width, "native" or None."""
        sides = self.sides
        return sides[0] if isinstance(sides, tuple) and len(sides) == 1 else sides

    @property
    def sides(self) -> tuple[int, ...] | str | None:
        """The numbers of `imgsz`, or "native"; None where nothing is given."""
        if self.imgsz is None or isinstance(self.imgsz, str):
            return self.imgsz
        return tuple(self.imgsz) if isinstance(self.imgsz, list) else (self.imgsz,)


@dataclass(frozen=True, kw_only=True)
class RuntimeDetection(RuntimeOptions):
    """What holds for detection."""

    source: str = option(..., "image, folder, pattern (in quotes) or list file")
    conf: list[str] = option(
        [str(CONF)],
        "least score of a detection, of all classes, or also of some by name",
        metavar="SCORE [CLASS=SCORE ...]",
    )
    operating_point: str | None = option(
        None,
        "operating_point.json that moat val wrote with this file: a verdict on each part, by its thresholds",
        metavar="FILE",
    )
    save: bool = option(True, "save the images with what was found drawn into them")
    save_txt: bool = option(False, "save the detections as labels in YOLO's format")
    save_conf: bool = option(False, "with --save-txt, save the scores too")
    save_json: bool = option(False, "save the detections as COCO results")
    save_csv: bool = option(False, "save the detections as CSV")
    shard: str | None = option(None, SHARD, metavar="I/N")
    line_width: int | None = option(None, "of the boxes, in pixels (default: by the image's size)")
    show_boxes: bool = option(True, "draw boxes")
    show_labels: bool = option(True, "draw the names of classes")
    show_conf: bool = option(True, "draw scores")

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        others = {"operating_point": self.operating_point, "save_json": self.save_json, "save_csv": self.save_csv}
        check_alone(self.shard, others)
        if self.line_width is not None and self.line_width < 1:
            raise UserError(f"--line-width {self.line_width}: must be 1 or more")


@dataclass(frozen=True, kw_only=True)
class RuntimeValidation(RuntimeOptions, MeasuringOptions):
    """What holds for validation."""

    data: str = option(..., "dataset YAML, or demo for the built-in demo set", metavar="YAML")
    split: str = option("val", "of the dataset: val, test or train")
    conf: float = option(LEAST_SCORE, "least score of a detection")
    single_cls: bool = option(False, "all classes are one")
    plots: bool = option(True, "draw curves and the confusion matrix, where matplotlib is installed")
    save_txt: bool = option(False, "save the detections as labels in YOLO's format")
    save_conf: bool = option(False, "with --save-txt, save the scores too")

    def __post_init__(self) -> None:
        """Check the values."""
        RuntimeOptions.__post_init__(self)
        MeasuringOptions.__post_init__(self)
        if not 0 <= self.conf <= 1:
            raise UserError(f"--conf {self.conf:g}: must be from 0 to 1")
        if self.per_class and self.single_cls:
            raise UserError("--per-class: with --single-cls all classes are one; leave one of the two out")
