"""The nine MOAT variants (arXiv 2210.01820; official `model/pixel_encoder/moat.py`)."""

from __future__ import annotations

from dataclasses import dataclass

IMAGENET_MEAN = (123.675 / 255, 116.28 / 255, 103.53 / 255)
IMAGENET_STD = (58.395 / 255, 57.12 / 255, 57.375 / 255)
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Variant:
    """What tells one MOAT from another; everything else is common to all of them.

    Attributes:
        stem: Channels of the two convolutions of the stem.
        depths: Blocks per stage; the first two stages are MBConv, the last two MOAT.
        channels: Channels per stage.
        survival: Probability of keeping a residual branch that the blocks fall to, from 1 at the first, by
            equal steps; it would be reached one block after the last.
        native: Side in pixels of the images of the last pre-training.
        mean: Mean of the RGB input, for images in [0, 1].
        std: Standard deviation of the RGB input, for images in [0, 1].
    """

    stem: tuple[int, int]
    depths: tuple[int, int, int, int]
    channels: tuple[int, int, int, int]
    survival: float
    native: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


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
