"""The stem, the MBConv block and the MOAT block (official `model/layers/moat_blocks.py`)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from moat_det.backbones.drop_path import DropPath
from moat_det.backbones.fold import fold_before, fold_behind
from moat_det.backbones.moat.attention import Attention
from moat_det.backbones.moat.layers import SameConv2d, SqueezeExcite, conv_gelu, same_avg_pool


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Make a batch norm with the official epsilon and momentum (Keras' 0.99 is torch's 0.01)."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Stem(nn.Module):
    """3x3 convolutions, the first of stride 2, with norm and GELU between them; nothing after the last.

    They are `conv_0`, `norm_0`, `conv_1` and so on.

    Args:
        in_channels: Bands of the image.
        channels: Of each convolution.
    """

    def __init__(self, in_channels: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.last = len(channels) - 1
        for number, (cin, cout) in enumerate(zip((in_channels, *channels), channels, strict=False)):
            self.add_module(f"conv_{number}", SameConv2d(cin, cout, stride=2 if number == 0 else 1))
            if number < self.last:
                self.add_module(f"norm_{number}", batch_norm(cout))

    def forward(self, x: Tensor) -> Tensor:
        """Take an image (B, in_channels, H, W) to half its size."""
        for number in range(self.last):
            x = conv_gelu(getattr(self, f"conv_{number}"), getattr(self, f"norm_{number}"), x)
        return getattr(self, f"conv_{self.last}")(x)

    def fold(self) -> None:
        """Fold each norm into the convolution before it."""
        for number in range(self.last):
            fold_behind(getattr(self, f"conv_{number}"), getattr(self, f"norm_{number}"))
            setattr(self, f"norm_{number}", nn.Identity())


class MBConv(nn.Module):
    """Inverted bottleneck with a residual connection; the expansion is a multiple of the block's *output* channels.

    Args:
        cin: Channels of the input.
        channels: Channels of the output.
        stride: 1 or 2.
        pool_size: Kernel of the average pooling in the shortcut of a block with stride 2.
        drop_path: Rate at which a sample's branch is dropped in training.
        expansion: Channels inside, for each of the output.
        se_ratio: Channels inside the gate of the channels before they shrink, for each of the output; None for no gate.
    """

    def __init__(
        self,
        cin: int,
        channels: int,
        *,
        stride: int,
        pool_size: int,
        drop_path: float,
        expansion: float,
        se_ratio: float | None,
    ) -> None:
        super().__init__()
        wide = int(expansion * channels)
        self.stride = stride
        self.pool_size = pool_size
        self.shortcut_conv = nn.Conv2d(cin, channels, 1) if cin != channels else nn.Identity()
        self.pre_norm: nn.Module = batch_norm(cin)
        self.expand_conv = nn.Conv2d(cin, wide, 1, bias=False)
        self.expand_norm: nn.Module = batch_norm(wide)
        self.depthwise_conv = SameConv2d(wide, wide, stride=stride, groups=wide, bias=False)
        self.depthwise_norm: nn.Module = batch_norm(wide)
        self.se = nn.Identity() if se_ratio is None else SqueezeExcite(wide, max(1, int(se_ratio * channels)))
        self.shrink_conv = nn.Conv2d(wide, channels, 1)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Take (B, cin, H, W) to (B, channels, ceil(H / stride), ceil(W / stride))."""
        shortcut = same_avg_pool(x, self.pool_size) if self.stride == 2 else x
        shortcut = self.shortcut_conv(shortcut)
        x = conv_gelu(self.expand_conv, self.expand_norm, self.pre_norm(x))
        x = conv_gelu(self.depthwise_conv, self.depthwise_norm, x)
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
        expansion: Channels inside the convolutions, for each of the output.
        head_size: Channels of an attention head.
        norm_eps: Epsilon of the layer norm.
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
        expansion: float,
        head_size: int,
        norm_eps: float,
        position_range: int | None,
        checkpoint_attention: bool,
    ) -> None:
        super().__init__(
            cin,
            channels,
            stride=stride,
            pool_size=pool_size,
            drop_path=drop_path,
            expansion=expansion,
            se_ratio=None,
        )
        self.attention_norm = nn.LayerNorm(channels, eps=norm_eps)
        self.attention = Attention(channels, position_range, head_size=head_size)
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
