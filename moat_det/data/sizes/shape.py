"""Heights and widths: scaled to fit, rounded to a stride, and the median of many."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np

logger = logging.getLogger(__name__)

Shape = tuple[int, int]
"""Height and width in pixels."""

NATIVE = "native"
"""What `--imgsz` says for each image's own size."""

MOST_PIXELS = 1280 * 1280
"""The most that `median_shape` gives: beyond it a training step needs more memory than most machines have."""

_LEAST_FILLED = 2 / 3  # of a shape by the images, on average: below it, they are of several shapes


def fit_within(height: int, width: int, shape: Sequence[int]) -> Shape:
    """Give the size of an image that is scaled to fit into `shape` and keeps its aspect.

    Args:
        height: Of the image.
        width: Of the image.
        shape: Height and width to fit into; one of the two is reached.

    Returns:
        Height and width, rounded as the engine's letterbox rounds.
    """
    ratio = min(shape[0] / height, shape[1] / width)
    return max(round(height * ratio), 1), max(round(width * ratio), 1)


def shrink_within(size: Sequence[int], shape: Sequence[int]) -> Shape:
    """Give the size of an image (H, W, ...) that is scaled down where it does not fit into `shape`; else its own."""
    height, width = size[:2]
    return (height, width) if height <= shape[0] and width <= shape[1] else fit_within(height, width, shape)


def round_up(shape: Sequence[float], stride: int) -> Shape:
    """Give the next multiples of `stride`."""
    height, width = (max(math.ceil(side / stride), 1) * stride for side in shape)
    return height, width


def multiple_of(shape: Shape, stride: int) -> Shape:
    """Round a shape up to multiples of the model's largest stride, and say so."""
    rounded = round_up(shape, stride)
    if rounded != shape:
        logger.info(
            f"--imgsz {shape[0]} {shape[1]}: {rounded[0]} x {rounded[1]} is taken, the next multiples of the model's "
            f"stride {stride}"
        )
    return rounded


def median_shape(sizes: np.ndarray, stride: int) -> tuple[Shape, str]:
    """Find the shape that suits images of these sizes.

    Args:
        sizes: (N, 2), height and width of each image in pixels.
        stride: The model's largest stride in pixels, of which both sides are multiples.

    Returns:
        The median height and width, scaled down where they have more than `MOST_PIXELS`, and rounded up to the stride;
        and the reason in words, with a warning where the images are of so many shapes that none is theirs.
    """
    height, width = (float(side) for side in np.median(sizes, axis=0))
    reason = f"the median of {len(sizes)} training images is {height:g} x {width:g}"
    ratios = np.min([height, width] / sizes, axis=1)
    filled = float((sizes.prod(axis=1) * ratios**2).mean() / (height * width))
    if filled < _LEAST_FILLED:
        reason += f" (they fill {filled:.0%} of it, the rest is padding: --rect with one number suits them better)"
    if height * width > MOST_PIXELS:
        ratio = math.sqrt(MOST_PIXELS / (height * width))
        # Downwards, so that the bound holds.
        height, width = (side * ratio // stride * stride for side in (height, width))
        reason += f", which was scaled down to {MOST_PIXELS / 1e6:.1f} megapixels: give --imgsz H W for more"
    return round_up((height, width), stride), reason
