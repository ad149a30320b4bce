"""The strided depthwise convolutions of timm's networks, by ours, whose gradient is fast."""

from __future__ import annotations

from timm.layers import Conv2dSame, pad_same
from torch import Tensor, nn

from moat_det.backbones.strided_depthwise import strided_conv2d


def train_fast(net: nn.Module) -> None:
    """Let every strided depthwise convolution compute its gradient fast, in place; names and weights stay."""
    for module in net.modules():
        kind = _KINDS.get(type(module))
        if kind is not None and _is_ours(module):
            module.__class__ = kind


def _is_ours(conv: nn.Module) -> bool:
    assert isinstance(conv, nn.Conv2d)
    plain = conv.padding_mode == "zeros" and not isinstance(conv.padding, str) and max(conv.dilation) == 1
    return plain and conv.in_channels == conv.out_channels == conv.groups and max(conv.stride) > 1


class StridedConv2d(nn.Conv2d):
    """As `torch.nn.Conv2d`."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, H, W)."""
        assert not isinstance(self.padding, str)
        return strided_conv2d(x, self.weight, self.bias, _pair(self.stride), _pair(self.padding), self.groups)


class StridedConv2dSame(Conv2dSame):
    """As timm's `Conv2dSame`: TensorFlow's SAME padding."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, H, W) to (B, C, ceil(H / stride), ceil(W / stride))."""
        x = pad_same(x, list(self.kernel_size), list(self.stride), list(self.dilation))
        return strided_conv2d(x, self.weight, self.bias, _pair(self.stride), (0, 0), self.groups)


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    down, across = values
    return down, across


_KINDS: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: StridedConv2d, Conv2dSame: StridedConv2dSame}
