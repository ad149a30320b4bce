"""The PAN neck: the levels exchange what they know, top-down and then bottom-up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.block import C3k2
from ultralytics.nn.modules.conv import Conv

from moat_det.backbones.base import FeatureInfo
from moat_det.backbones.fold import fold_before
from moat_det.errors import UserError


class PAN(nn.Module):
    """Path aggregation network (Liu et al., arXiv 1803.01534, with YOLO's C3k2 blocks) over consecutive levels.

    Args:
        feature_info: The backbone's maps, of which those of the levels' strides are taken.
        levels: The levels, the finest first: 3, 4, 5 for strides 8, 16 and 32. Those beyond the backbone's last map are
            made here.
        channels: Channels of each level's output.
        depth: Bottlenecks in each block.

    Raises:
        UserError: The backbone has no map of a level that is finer than its last.
    """

    def __init__(
        self, feature_info: Sequence[FeatureInfo], levels: Sequence[int], channels: Sequence[int], depth: int = 1
    ) -> None:
        super().__init__()
        self.levels = tuple(levels)
        width = dict(zip(levels, channels, strict=True))
        inputs = _choose(feature_info, levels)
        self.stages = [info.module for info in inputs]
        # The backbone's stages are an un-normalised residual stream: each is normalised before use.
        self.normalize = nn.ModuleList(nn.BatchNorm2d(info.num_chs) for info in inputs)
        self.lateral = nn.ModuleList(Conv(info.num_chs, c) for info, c in zip(inputs, channels, strict=False))
        self.up = nn.Upsample(scale_factor=2.0, mode="nearest")
        for level in reversed(levels[:-1]):
            self.add_module(f"top_down{level}", C3k2(width[level + 1] + width[level], width[level], depth))
        for below, level in pairwise(levels):
            self.add_module(f"down{below}", Conv(width[below], width[below], 3, 2))
            self.add_module(f"bottom_up{level}", C3k2(width[below] + width[level], width[level], depth))
        for level in levels[len(inputs) :]:
            self.add_module(f"beyond{level - 1}", Conv(width[level - 1], width[level], 3, 2))

    def forward(self, features: Mapping[str, Tensor]) -> list[Tensor]:
        """Fuse the backbone's maps.

        Args:
            features: By name, for each level L that the backbone has: (B, C, H / 2 ** L, W / 2 ** L), H and W
                multiples of the largest stride.

        Returns:
            The levels at the same sizes, the finest first, with the neck's channels.
        """
        inputs = [
            lateral(norm(features[stage]))
            for stage, norm, lateral in zip(self.stages, self.normalize, self.lateral, strict=True)
        ]
        for level in self.levels[len(inputs) :]:
            inputs.append(getattr(self, f"beyond{level - 1}")(inputs[-1]))
        maps = dict(zip(self.levels, inputs, strict=True))
        for level in reversed(self.levels[:-1]):
            maps[level] = getattr(self, f"top_down{level}")(torch.cat((self.up(maps[level + 1]), maps[level]), 1))
        for level in self.levels[1:]:
            finer = getattr(self, f"down{level - 1}")(maps[level - 1])
            maps[level] = getattr(self, f"bottom_up{level}")(torch.cat((finer, maps[level]), 1))
        return list(maps.values())

    def fold(self) -> None:
        """Fold the norms of the inputs into the convolutions behind them; those in the blocks are the engine's."""
        for index, lateral in enumerate(self.lateral):
            fold_before(self.normalize[index], lateral.conv)
            self.normalize[index] = nn.Identity()


def choose_widths(feature_info: Sequence[FeatureInfo], levels: Sequence[int]) -> list[int]:
    """Give the channels of a neck by the one rule for every backbone.

    The deepest map of the backbone keeps its channels, every finer level gets the square root of 2 times those of its
    map: to the next multiple of 16, and at most 2 ** (level + 5), as in the neck of a small detector. A level beyond
    the backbone is as wide as the one before.

    Raises:
        UserError: The backbone has no map of a level that is finer than its last.
    """
    inputs = _choose(feature_info, levels)
    deepest = max(info.reduction for info in feature_info)
    widths = []
    for level, info in zip(levels, inputs, strict=False):
        width = info.num_chs if info.reduction == deepest else info.num_chs * math.sqrt(2)
        widths.append(min(max(16, 16 * round(width / 16)), 2 ** (level + 5)))
    return widths + widths[-1:] * (len(levels) - len(inputs))


def _choose(feature_info: Sequence[FeatureInfo], levels: Sequence[int]) -> list[FeatureInfo]:
    """Give the maps of the levels' strides, as far as the backbone goes."""
    by_stride = {info.reduction: info for info in feature_info}
    wanted = [2**level for level in levels if 2**level <= max(by_stride)]
    if not wanted or not by_stride.keys() >= set(wanted):
        strides = ", ".join(map(str, by_stride))
        raise UserError(
            f"neck.levels {list(levels)}: a level L is of stride 2 ** L, and the backbone's maps are of {strides}"
        )
    return [by_stride[stride] for stride in wanted]
