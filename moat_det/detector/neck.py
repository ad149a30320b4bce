"""The PAN neck: the levels exchange what they know, top-down and then bottom-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.block import C3k2
from ultralytics.nn.modules.conv import Conv

LAST_STAGE = 5
"""Level L is the backbone's stage L, of stride 2 ** L; a level beyond the last stage is made here."""


class PAN(nn.Module):
    """Path aggregation network (Liu et al., arXiv 1803.01534, with YOLO's C3k2 blocks) over consecutive levels.

    Args:
        in_channels: Channels of the backbone's maps, by name.
        levels: The levels, the finest first: 3, 4, 5 for strides 8, 16 and 32; from 2 to 6.
        channels: Channels of each level's output.
        depth: Bottlenecks in each block.
    """

    def __init__(
        self, in_channels: Mapping[str, int], levels: Sequence[int], channels: Sequence[int], depth: int = 1
    ) -> None:
        super().__init__()
        self.levels = tuple(levels)
        width = dict(zip(levels, channels, strict=True))
        self.stages = [f"stage{level}" for level in levels if level <= LAST_STAGE]
        # The backbone's stages are an un-normalised residual stream: each is normalised before use.
        self.normalize = nn.ModuleList(nn.BatchNorm2d(in_channels[stage]) for stage in self.stages)
        self.lateral = nn.ModuleList(
            Conv(in_channels[stage], c) for stage, c in zip(self.stages, channels, strict=False)
        )
        self.up = nn.Upsample(scale_factor=2.0, mode="nearest")
        for level in reversed(levels[:-1]):
            self.add_module(f"top_down{level}", C3k2(width[level + 1] + width[level], width[level], depth))
        for below, level in pairwise(levels):
            self.add_module(f"down{below}", Conv(width[below], width[below], 3, 2))
            self.add_module(f"bottom_up{level}", C3k2(width[below] + width[level], width[level], depth))
        for level in levels:
            if level > LAST_STAGE:
                self.add_module(f"beyond{level - 1}", Conv(width[level - 1], width[level], 3, 2))

    def forward(self, features: Mapping[str, Tensor]) -> list[Tensor]:
        """Fuse the backbone's maps.

        Args:
            features: `stage<L>` for each level up to 5: (B, C, H / 2 ** L, W / 2 ** L), H and W multiples of the
                largest stride.

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
