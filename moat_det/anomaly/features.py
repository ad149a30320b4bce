"""What a place of an image looks like to a backbone: one vector for each cell of its map at stride 8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

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


def channel_weights(infos: Sequence[FeatureInfo], names: Sequence[str]) -> Tensor:
    """Say how much each channel counts: by stride, since a cell of a coarse map speaks for several of the finest.

    Args:
        infos: The maps of the backbone.
        names: Those that are taken, the finest first.

    Returns:
        (C,) float32, 1 for those of the finest map.
    """
    by_name = {info.module: info for info in infos}
    chosen = [by_name[name] for name in names]
    return torch.cat([torch.full((info.num_chs,), chosen[0].reduction / info.reduction) for info in chosen])


def patch_features(maps: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    """Bring maps to the grid of the finest, and lay them side by side: section 3.1 of PatchCore (arXiv 2106.08265).

    The mean over 3 x 3 cells that comes first there is left out: a cell of these maps sees far around it already, and
    all that was measured was worse with it (docs/results.md).

    Args:
        maps: (B, C, H / stride, W / stride) each, by name.
        names: Those to take, the finest first.

    Returns:
        (B, H / 8, W / 8, C) float32, C of all maps.
    """
    finest, *others = (maps[name].float() for name in names)
    size = finest.shape[2:]
    brought = [interpolate(each, size, mode="bilinear", align_corners=False) for each in others]
    return torch.cat([finest, *brought], dim=1).permute(0, 2, 3, 1)
