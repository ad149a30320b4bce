"""What `--imgsz` says of the images' shape, beside the one number that the engine knows."""

from __future__ import annotations

import logging
from typing import Any

from moat_det.data.config import DatasetConfig, reading
from moat_det.data.fraction import split_fraction
from moat_det.data.index import open_index
from moat_det.data.sizes.shape import Shape, median_shape, multiple_of
from moat_det.errors import UserError
from moat_det.values import is_count

logger = logging.getLogger(__name__)

AUTO = "auto"


def take_shape(arguments: dict[str, Any]) -> Shape | None:
    """Take height and width out of `imgsz`, which becomes the longer side; None where it is one number, or not given.

    Raises:
        UserError: It has more numbers, or others than whole ones above 0.
    """
    if "imgsz" not in arguments:
        return None
    given = arguments["imgsz"]
    sides = given if isinstance(given, (list, tuple)) else [given]
    if not 1 <= len(sides) <= 2 or not all(map(is_count, sides)):
        raise UserError(
            f"--imgsz {' '.join(map(repr, sides))}: give the longer side, --imgsz 640, or height and width, "
            "--imgsz 256 2048"
        )
    arguments["imgsz"] = max(sides)
    return (sides[0], sides[1]) if len(sides) == 2 else None


def take_training_shape(arguments: dict[str, Any], data: DatasetConfig, stride: int) -> Shape | None:
    """Take the one shape of all training images out of `imgsz`, which becomes its longer side.

    Args:
        arguments: The engine's; changed in place.
        data: The dataset, as `moat_det.data.config.load_dataset` gives it, whose images `auto` looks at.
        stride: The model's largest.

    Returns:
        Height and width, multiples of the stride; None where `imgsz` is one number.

    Raises:
        UserError: `imgsz` is no size, or is at odds with `rect`; `auto` finds no image.
    """
    if arguments.get("imgsz") == AUTO:
        names = None if arguments.get("single_cls") else data["names"]
        part = split_fraction(arguments.get("fraction", 1.0), "train")
        index = open_index(data["train"], names, part=part, **reading(data))
        shape, reason = median_shape(index.shapes, stride)
        logger.info(f"--imgsz auto: {shape[0]} x {shape[1]}, multiples of {stride}, since {reason}")
    else:
        given = take_shape(arguments)
        if given is None:
            return None
        shape = multiple_of(given, stride)
    if arguments.get("rect"):
        raise UserError("--rect gives each batch a shape of its own, --imgsz H W and auto one to all: leave one out")
    logger.info(f"Images are {shape[0]} x {shape[1]} (height x width); where the engine says imgsz, the longer side")
    arguments["imgsz"] = max(shape)
    return shape
