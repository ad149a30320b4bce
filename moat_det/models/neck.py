"""The PAN neck: features of strides 8, 16 and 32 exchange what they know, top-down and then bottom-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.block import C3k2
from ultralytics.nn.modules.conv import Conv


class PAN(nn.Module):
    """Path aggregation network over three levels (Liu et al., arXiv 1803.01534, with YOLO's C3k2 blocks).

    Args:
        in_channels: Channels of the backbone's maps of stride 8, 16 and 32.
        channels: Channels of the outputs P3, P4 and P5.
        depth: Bottlenecks in each block.
    """

    def __init__(self, in_channels: Sequence[int], channels: Sequence[int], depth: int = 1) -> None:
        super().__init__()
        c3, c4, c5 = channels
        # The backbone's stages are an un-normalised residual stream: each is normalised before use.
        self.normalize = nn.ModuleList(nn.BatchNorm2d(c) for c in in_channels)
        self.lateral = nn.ModuleList(Conv(i, o) for i, o in zip(in_channels, channels, strict=True))
        self.up = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.top_down4 = C3k2(c5 + c4, c4, depth)
        self.top_down3 = C3k2(c4 + c3, c3, depth)
        self.down3 = Conv(c3, c3, 3, 2)
        self.bottom_up4 = C3k2(c3 + c4, c4, depth)
        self.down4 = Conv(c4, c4, 3, 2)
        self.bottom_up5 = C3k2(c4 + c5, c5, depth)

    def forward(self, features: Mapping[str, Tensor]) -> list[Tensor]:
        """Fuse the backbone's maps.

        Args:
            features: `stage3`, `stage4`, `stage5`: (B, C, H / 8, W / 8), (.. / 16), (.. / 32), H and W multiples of 32.

        Returns:
            P3, P4, P5 at the same sizes, with the neck's channels.
        """
        stages = (features["stage3"], features["stage4"], features["stage5"])
        x3, x4, x5 = (lateral(norm(x)) for x, norm, lateral in zip(stages, self.normalize, self.lateral, strict=True))
        t4 = self.top_down4(torch.cat((self.up(x5), x4), 1))
        p3 = self.top_down3(torch.cat((self.up(t4), x3), 1))
        p4 = self.bottom_up4(torch.cat((self.down3(p3), t4), 1))
        p5 = self.bottom_up5(torch.cat((self.down4(p4), x5), 1))
        return [p3, p4, p5]
