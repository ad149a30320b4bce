"""A backbone that sees a part of a picture, and what it makes of the rest."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moat_det.backbones.base import Backbone
from moat_det.detector.detector import BN_MOMENTUM, InputNormalization
from moat_det.errors import UserError
from moat_det.pretraining.masked.masks import PATCH

STRIDES = (8, 16, 32)
"""Those of the maps that a detector looks at."""

# A flat picture has nothing but noise to predict: below about one of 255 levels it is not blown up.
_LEAST_DEVIATION = 1 / 255


class MaskedModel(nn.Module):
    """Predicts the pixels of hidden patches from the maps of a backbone.

    The objective is SimMIM's (Xie et al., arXiv 2111.09886): random patches are hidden in the input, a single layer
    predicts their pixels, and the L1 distance on them is the loss. Two things differ. Each of the three maps predicts
    alone, since a detector looks at all of them, and a map that none asked anything of would learn little. And a hidden
    patch is filled with the mean of the pixels that are left, band by band, instead of a learnt token: the brightness
    that a convolutional stem sees stays the picture's (Li et al., A2MIM, arXiv 2205.13943).

    The targets are pixels by the mean and the deviation of their picture, so that one of low contrast weighs as much as
    any. Those of each patch (He et al., arXiv 2111.06377) would take away what can be predicted of steel, how light and
    dark go on, and leave its grain, which cannot: in 100 steps on it the error fell by 2 % instead of 25 %.

    Batch norms see pictures with flat patches meanwhile; `MaskedTask.finish` takes their statistics anew at the end.

    Args:
        backbone: To train; it gives maps of strides 8, 16 and 32.
        channels: Bands of the images.

    Raises:
        UserError: The backbone lacks one of the maps.
    """

    def __init__(self, backbone: Backbone, channels: int) -> None:
        super().__init__()
        names = {info.reduction: info for info in backbone.feature_info}
        if lacking := [stride for stride in STRIDES if stride not in names]:
            raise UserError(f"the backbone has no map of stride {lacking[0]}: choose another --backbone")
        self.normalize = InputNormalization(backbone.mean, backbone.std)
        self.backbone = backbone
        for module in backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = BN_MOMENTUM
        self._maps = [names[stride].module for stride in STRIDES]
        self.decoders = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(names[stride].num_chs, channels * stride**2, kernel_size=1), nn.PixelShuffle(stride)
            )
            for stride in STRIDES
        )

    def forward(self, images: Tensor, masks: Tensor) -> list[Tensor]:
        """Predict pictures from what is left of them.

        Args:
            images: (B, C, H, W) uint8, H and W multiples of `PATCH`.
            masks: (B, H / PATCH, W / PATCH) bool, true where a patch is hidden.

        Returns:
            What each of the maps of `STRIDES` makes of the whole picture: (B, C, H, W) in the units of `targets`.
        """
        shown = hide(images, masks)
        maps = self.backbone(self.normalize(shown).contiguous(memory_format=torch.channels_last))
        return [decoder(maps[name]) for name, decoder in zip(self._maps, self.decoders, strict=True)]


def losses(predictions: list[Tensor], images: Tensor, masks: Tensor) -> Tensor:
    """Give the mean absolute error of each prediction on the hidden pixels, in deviations of the pictures.

    Args:
        predictions: (B, C, H, W) each.
        images: (B, C, H, W) uint8.
        masks: (B, H / PATCH, W / PATCH) bool.

    Returns:
        (len(predictions),) float32.
    """
    wanted, hidden = targets(images)[0], spread(masks)[:, None].to(torch.float32)
    pixels = hidden.sum() * images.shape[1]
    errors = [((prediction.float() - wanted).abs() * hidden).sum() / pixels for prediction in predictions]
    return torch.stack(errors)


def hide(images: Tensor, masks: Tensor) -> Tensor:
    """Fill the hidden patches of images (B, C, H, W), uint8, by the mean of the others; floats in [0, 1]."""
    pixels, hidden = images.float() / 255, spread(masks)[:, None]
    left = (~hidden).float()
    means = (pixels * left).sum((2, 3), keepdim=True) / left.sum((2, 3), keepdim=True).clamp_(min=1)
    return torch.where(hidden, means, pixels)


def targets(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give what is to be predicted of images (B, C, H, W), uint8: pixels by mean and deviation of their picture.

    Returns:
        The targets, (B, C, H, W); and mean and deviation of each band, of pixels in [0, 1], (B, C, 1, 1).
    """
    pixels = images.float() / 255
    variance, mean = torch.var_mean(pixels, (2, 3), correction=0, keepdim=True)
    deviation = (variance + _LEAST_DEVIATION**2).sqrt()
    return (pixels - mean) / deviation, mean, deviation


def spread(masks: Tensor) -> Tensor:
    """Give masks of patches, (B, h, w), as masks of pixels."""
    return masks.repeat_interleave(PATCH, dim=1).repeat_interleave(PATCH, dim=2)
