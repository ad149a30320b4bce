"""What a place of an image looks like to a backbone: one vector for each cell of its map at stride 8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from moat_det.backbones.base import FeatureInfo
from moat_det.errors import UserError

STRIDES = (8, 16)
"""Of the maps that are taken (section 3.1): coarser ones know classes rather than looks, finer ones edges alone."""


def choose_maps(infos: Sequence[FeatureInfo]) -> list[str]:
    """Name the maps of a backbone that features are made of, the finest first.

    Raises:
        UserError: It has none at one of the strides.
    """
    by_stride = {info.reduction: info.module for info in infos}
    if not set(STRIDES) <= by_stride.keys():
        raise UserError(f"--heatmap: needs a backbone with maps at strides 8 and 16, this one has {sorted(by_stride)}")
    return [by_stride[stride] for stride in STRIDES]


def patch_features(maps: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    """Average each map over 3 x 3 cells, bring all to the grid of the finest, and lay them side by side.

    Section 3.1 of PatchCore (arXiv 2106.08265).

    Args:
        maps: (B, C, H / stride, W / stride) each, by name.
        names: Those to take, the finest first.

    Returns:
        (B, H / 8, W / 8, C) float32, C of all maps.
    """
    means = [avg_pool2d(maps[name].float(), 3, stride=1, padding=1, count_include_pad=False) for name in names]
    size = means[0].shape[2:]
    rest = [interpolate(mean, size, mode="bilinear", align_corners=False) for mean in means[1:]]
    return torch.cat([means[0], *rest], dim=1).permute(0, 2, 3, 1)
