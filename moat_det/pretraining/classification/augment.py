"""What training does to pictures and to their batches, by timm's parts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from moat_det.backbones.timm.names import INSTALL, is_installed
from moat_det.data.seeds import seeded
from moat_det.errors import UserError
from moat_det.options import option
from moat_det.pretraining.classification.views import view
from moat_det.pretraining.options import check_range


@dataclass(frozen=True)
class AugmentationOptions:
    """How pictures are changed.

    Raises:
        UserError: A value is out of its range, or timm is missing.
    """

    plain: bool = option(False, "change nothing: no crops, flips, RandAugment, erasing, mixup, cutmix or smoothing")
    scale: float = option(0.35, "least part of a picture's area that a random crop takes; 1 takes all of it")
    flip: float = option(0.5, "how often a picture is mirrored left to right")
    flip_vertical: float = option(0.0, "how often it is mirrored upside down")
    rand_augment: float = option(9.0, "magnitude of RandAugment, 0 (off) to 10: colours, contrast, shear, rotation")
    erasing: float = option(0.25, "how often a rectangle is erased")
    mixup: float = option(0.8, "alpha of mixup: two pictures laid over each other; 0 is off")
    cutmix: float = option(1.0, "alpha of cutmix: a rectangle of another picture; 0 is off")
    smoothing: float = option(0.1, "label smoothing")

    def __post_init__(self) -> None:
        """Check the values."""
        check_range("scale", self.scale, 0, 1, above=True)
        for name in ("flip", "flip_vertical", "erasing"):
            check_range(name, getattr(self, name), 0, 1)
        check_range("rand_augment", self.rand_augment, 0, 10)
        for name in ("mixup", "cutmix"):
            check_range(name, getattr(self, name), 0, 100)
        check_range("smoothing", self.smoothing, 0, 1, below=True)
        if self.needs_timm and not is_installed():
            raise UserError(f"the augmentations are timm's, which is not installed: {INSTALL}, or give --plain")

    @property
    def needs_timm(self) -> bool:
        """Whether anything is done that timm does."""
        asked = self.scale < 1 or self.rand_augment or self.erasing or self.mixup or self.cutmix
        return bool(asked) and not self.plain


class PictureAugmentation:
    """Changes one picture, as the global generators of Python and NumPy say.

    Args:
        options: How.
        side: Of the square that comes out, in pixels.
        part: As `view` takes it, where no random crop is taken.
        mean: Colour of what is empty, RGB in [0, 1].
    """

    def __init__(self, options: AugmentationOptions, side: int, part: float | None, mean: Sequence[float]) -> None:
        self._options, self._side, self._part = options, side, part
        self._colour = torch.tensor([255 * value for value in mean]).view(3, 1, 1)
        self._crop: Any = None
        self._change: Any = None
        self._erase: Any = None
        if not options.needs_timm:
            return
        from timm.data.auto_augment import rand_augment_transform
        from timm.data.random_erasing import RandomErasing
        from timm.data.transforms import RandomResizedCropAndInterpolation

        import moat_det.backbones.timm  # noqa: F401  # timm's server stays unasked

        if options.scale < 1:
            self._crop = RandomResizedCropAndInterpolation(side, scale=(options.scale, 1.0), interpolation="bicubic")
        if options.rand_augment:
            colour = tuple(round(255 * value) for value in mean)
            settings = {"translate_const": int(0.45 * side), "img_mean": colour}
            self._change = rand_augment_transform(f"rand-m{options.rand_augment:g}-mstd0.5-inc1", settings)
        if options.erasing:
            self._erase = RandomErasing(options.erasing, mode="const", device="cpu")

    def __call__(self, picture: np.ndarray) -> Tensor:
        """Change a picture (H, W, 3), uint8, BGR; gives (3, side, side), uint8, RGB."""
        options = self._options
        if options.plain:
            return _as_tensor(view(picture, self._side, self._part))
        if self._crop is None:
            image = Image.fromarray(view(picture, self._side, self._part))
        else:
            image = self._crop(Image.fromarray(picture[..., ::-1]))
        if random.random() < options.flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if random.random() < options.flip_vertical:
            image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        if self._change is not None:
            image = self._change(image)
        tensor = _as_tensor(np.array(image))
        if self._erase is None:
            return tensor
        # What is erased becomes 0, which is the mean colour here.
        return (self._erase(tensor.float() - self._colour) + self._colour).round().to(torch.uint8)


class BatchAugmentation:
    """Mixes the pictures of a batch, and makes the targets.

    Args:
        options: How.
        classes: How many there are.
    """

    def __init__(self, options: AugmentationOptions, classes: int) -> None:
        self._classes = classes
        self._smoothing = 0.0 if options.plain else options.smoothing
        self._mix: Any = None
        if not options.plain and (options.mixup or options.cutmix):
            from timm.data.mixup import Mixup

            import moat_det.backbones.timm  # noqa: F401

            self._mix = Mixup(
                options.mixup, options.cutmix, label_smoothing=self._smoothing, num_classes=classes, mode="batch"
            )

    def __call__(self, images: Tensor, classes: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Mix a batch.

        Args:
            images: (B, 3, H, W), uint8.
            classes: (B,), their numbers.
            seed: Of what is random.

        Returns:
            The images, uint8 or floating in [0, 1], and the probabilities (B, classes) that are to be learnt.
        """
        targets = F.one_hot(classes, self._classes).float()
        targets = targets * (1 - self._smoothing) + self._smoothing / self._classes
        even = len(images) // 2 * 2  # timm mixes pairs
        if self._mix is None or not even:
            return images, targets
        mixed = images.float() / 255
        with seeded(seed):
            mixed[:even], targets[:even] = self._mix(mixed[:even].clone(), classes[:even])
        return mixed, targets


def _as_tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
