"""The stem, the MBConv block and the MOAT block (official `model/layers/moat_blocks.py`)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from moat_det.backbones.fold import fold_before, fold_behind
from moat_det.backbones.moat.attention import Attention
from moat_det.backbones.moat.layers import DropPath, SameConv2d, SqueezeExcite, gelu, same_avg_pool

EXPANSION = 4
SE_RATIO = 0.25


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Make a batch norm with the official epsilon and momentum (Keras' 0.99 is torch's 0.01)."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Stem(nn.Module):
    """Two 3x3 convolutions, the first of stride 2; no norm and no activation after the second."""

    def __init__(self, in_channels: int, channels: tuple[int, int]) -> None:
        super().__init__()
        self.conv_0 = SameConv2d(in_channels, channels[0], stride=2)
        self.norm_0: nn.Module = batch_norm(channels[0])
        self.conv_1 = SameConv2d(*channels)

    def forward(self, x: Tensor) -> Tensor:
        """Take an image (B, in_channels, H, W) to half its size."""
        return self.conv_1(gelu(self.norm_0(self.conv_0(x))))

    def fold(self) -> None:
        """Fold the norm into the convolution before it."""
        fold_behind(self.conv_0, self.norm_0)
        self.norm_0 = nn.Identity()


class MBConv(nn.Module):
    """Inverted bottleneck with a residual connection; the expansion is 4 times the block's *output* channels.

    Args:
        cin: Channels of the input.
        channels: Channels of the output.
        stride: 1 or 2.
        pool_size: Kernel of the average pooling in the shortcut of a block with stride 2.
        drop_path: Rate at which a sample's branch is dropped in training.
        squeeze_excite: Whether the channels are gated before they shrink.
    """

    def __init__(
        self,
        cin: int,
        channels: int,
        *,
        stride: int,
        pool_size: int,
        drop_path: float,
        squeeze_excite: bool = True,
    ) -> None:
        super().__init__()
        wide = EXPANSION * channels
        self.stride = stride
        self.pool_size = pool_size
        self.shortcut_conv = nn.Conv2d(cin, channels, 1) if cin != channels else nn.Identity()
        self.pre_norm: nn.Module = batch_norm(cin)
        self.expand_conv = nn.Conv2d(cin, wide, 1, bias=False)
        self.expand_norm: nn.Module = batch_norm(wide)
        self.depthwise_conv = SameConv2d(wide, wide, stride=stride, groups=wide, bias=False)
        self.depthwise_norm: nn.Module = batch_norm(wide)
        reduced = max(1, int(SE_RATIO * channels))
        self.se = SqueezeExcite(wide, reduced) if squeeze_excite else nn.Identity()
        self.shrink_conv = nn.Conv2d(wide, channels, 1)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Take (B, cin, H, W) to (B, channels, ceil(H / stride), ceil(W / stride))."""
        shortcut = same_avg_pool(x, self.pool_size) if self.stride == 2 else x
        shortcut = self.shortcut_conv(shortcut)
        x = self.expand_conv(self.pre_norm(x))
        x = gelu(self.expand_norm(x))
        x = self.depthwise_conv(x)
        x = gelu(self.depthwise_norm(x))
        x = self.shrink_conv(self.se(x))
        return shortcut + self.drop_path(x)

    def fold(self) -> None:
        """Fold the three batch norms into the convolutions beside them."""
        fold_behind(self.expand_conv, self.expand_norm)
        fold_behind(self.depthwise_conv, self.depthwise_norm)
        fold_before(self.pre_norm, self.expand_conv)
        self.pre_norm, self.expand_norm, self.depthwise_norm = nn.Identity(), nn.Identity(), nn.Identity()


class MOATBlock(MBConv):
    """An MBConv without squeeze-and-excitation, then self-attention with a residual connection of its own.

    Args:
        cin: Channels of the input.
        channels: Channels of the output.
        stride: 1 or 2.
        pool_size: Kernel of the average pooling in the shortcut of a block with stride 2.
        drop_path: Rate at which a sample's branch is dropped in training, each of the two by itself.
        position_range: P of the position table; None for no position bias.
        checkpoint_attention: Keep nothing of the layer norm and the attention for the backward pass, which then
            computes them anew.
    """

    def __init__(
        self,
        cin: int,
        channels: int,
        *,
        stride: int,
        pool_size: int,
        drop_path: float,
        position_range: int | None,
        checkpoint_attention: bool,
    ) -> None:
        super().__init__(cin, channels, stride=stride, pool_size=pool_size, drop_path=drop_path, squeeze_excite=False)
        self.attention_norm = nn.LayerNorm(channels, eps=1e-5)
        self.attention = Attention(channels, position_range)
        self.checkpoint_attention = checkpoint_attention

    def forward(self, x: Tensor) -> Tensor:
        """Take (B, cin, H, W) to (B, channels, ceil(H / stride), ceil(W / stride))."""
        x = super().forward(x)
        if self.checkpoint_attention and torch.is_grad_enabled():
            z = checkpoint(self._attend, x, use_reentrant=False, preserve_rng_state=False)
        else:
            z = self._attend(x)
        return x + self.drop_path(z)

    def _attend(self, x: Tensor) -> Tensor:
        # channels last: a view where the map lies in memory that way, which is how the CPU is fastest
        return self.attention(self.attention_norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
