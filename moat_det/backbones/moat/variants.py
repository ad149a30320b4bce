"""The nine MOAT variants (arXiv 2210.01820; official `model/pixel_encoder/moat.py`)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import accumulate
from operator import mul
from typing import Any

IMAGENET_MEAN = (123.675 / 255, 116.28 / 255, 103.53 / 255)
IMAGENET_STD = (58.395 / 255, 57.12 / 255, 57.375 / 255)
HALF = (0.5, 0.5, 0.5)

HEAD_SIZE = 32
"""Channels of an attention head in every released variant."""

POSITION_SIZES = (None, None, 14, 7)
"""P of the position tables, for every released variant and every resolution of pre-training."""


BLOCK_TYPES = ("mbconv", "moat")


@dataclass(frozen=True)
class Variant:
    """What tells one MOAT from another. The released ones differ in the first four, `native`, mean and std alone.

    Attributes:
        stem: Channels of the convolutions of the stem, of which the first has stride 2.
        depths: Blocks per stage.
        channels: Channels per stage.
        survival: Probability of keeping a residual branch that the blocks fall to, from 1 at the first, by
            equal steps; it would be reached one block after the last.
        native: Side in pixels of the images of the last pre-training.
        mean: Mean of the RGB input, for images in [0, 1].
        std: Standard deviation of the RGB input, for images in [0, 1].
        block_types: Of `BLOCK_TYPES`, per stage.
        strides: Of the first block of each stage, 1 or 2.
        expansion: Channels inside a block, as a multiple of those of its output.
        se_ratio: Channels inside the squeeze-and-excitation of an MBConv block, as a part of those of its output.
        head_size: Channels of an attention head.
        position_sizes: P of the position tables per stage, which have 2P - 1 rows and columns; None where there is no
            attention.
        norm_eps: Epsilon of the layer norms before attention and before a classification head.
        kernel_init: What kernels are drawn from, one of `initializers.KERNELS`; None is the official choice in a
            backbone alone, and in a detector what keeps the variance.
        bias_init: Value of the biases.
    """

    stem: tuple[int, ...]
    depths: tuple[int, ...]
    channels: tuple[int, ...]
    survival: float
    native: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    block_types: tuple[str, ...] = ("mbconv", "mbconv", "moat", "moat")
    strides: tuple[int, ...] = (2, 2, 2, 2)
    expansion: float = 4
    se_ratio: float = 0.25
    head_size: int = HEAD_SIZE
    position_sizes: tuple[int | None, ...] = POSITION_SIZES
    norm_eps: float = 1e-5
    kernel_init: str | None = None
    bias_init: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Give plain types, as a YAML holds them."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @property
    def reductions(self) -> tuple[int, ...]:
        """Pixels of the image per cell of the map of each stage."""
        return tuple(accumulate(self.strides, mul, initial=2))[1:]


VARIANTS = {
    "moat0": Variant((64, 64), (2, 3, 7, 2), (96, 192, 384, 768), 0.8, 224),
    "moat1": Variant((64, 64), (2, 6, 14, 2), (96, 192, 384, 768), 0.7, 224),
    "moat2": Variant((128, 128), (2, 6, 14, 2), (128, 256, 512, 1024), 0.7, 384, HALF, HALF),
    "moat3": Variant((160, 160), (2, 12, 28, 2), (160, 320, 640, 1280), 0.4, 512, HALF, HALF),
    "moat4": Variant((256, 256), (2, 12, 28, 2), (256, 512, 1024, 2048), 0.3, 512, HALF, HALF),
    "tiny_moat0": Variant((32, 32), (2, 3, 7, 2), (32, 64, 128, 256), 1.0, 256),
    "tiny_moat1": Variant((40, 40), (2, 3, 7, 2), (40, 80, 160, 320), 1.0, 256),
    "tiny_moat2": Variant((56, 56), (2, 3, 7, 2), (56, 112, 224, 448), 1.0, 256),
    "tiny_moat3": Variant((80, 80), (2, 3, 7, 2), (80, 160, 320, 640), 0.9, 256),
}
