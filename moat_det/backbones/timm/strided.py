"""The strided convolutions of timm's networks that torch computes badly on a CPU, by ours."""

from __future__ import annotations

from timm.layers import Conv2dSame, pad_same
from torch import Tensor, nn
from torch.nn import functional as F

from moat_det.backbones.strided_depthwise import strided_conv2d

_SOUND_FROM = 16
"""Bands of the input from which on torch's convolutions of 1 x 1 are sound."""


def take_strides(net: nn.Module) -> None:
    """Let every such convolution compute by ours, in place; names and weights stay."""
    for module in net.modules():
        if type(module) is nn.Conv2d and _crashes(module):
            module.__class__ = StridedPointwise
        elif type(module) in _DEPTHWISE and _is_slow(module):
            module.__class__ = _DEPTHWISE[type(module)]


def _crashes(conv: nn.Conv2d) -> bool:
    plain = conv.kernel_size == (1, 1) and conv.padding == (0, 0) and conv.groups == 1
    return plain and max(conv.stride) > 1 and conv.in_channels < _SOUND_FROM


def _is_slow(conv: nn.Module) -> bool:
    assert isinstance(conv, nn.Conv2d)
    plain = conv.padding_mode == "zeros" and not isinstance(conv.padding, str) and max(conv.dilation) == 1
    return plain and conv.in_channels == conv.out_channels == conv.groups and max(conv.stride) > 1


class StridedPointwise(nn.Conv2d):
    """A convolution of 1 x 1 that takes of its map the cells that its stride leaves, and then does not skip.

    oneDNN's gradient of such a kernel writes behind its memory where the map has fewer than 16 bands and lies in
    channels_last (torch 2.14, AVX-512): the process ends in a segmentation fault, now or later.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, H, W)."""
        rows, columns = self.stride
        return F.conv2d(x[..., ::rows, ::columns], self.weight, self.bias)


class StridedDepthwise(nn.Conv2d):
    """A depthwise convolution whose gradient is fast in bfloat16, see `strided_conv2d`."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, H, W)."""
        assert not isinstance(self.padding, str)
        return strided_conv2d(x, self.weight, self.bias, _pair(self.stride), _pair(self.padding), self.groups)


class StridedDepthwiseSame(Conv2dSame):
    """The same with TensorFlow's SAME padding."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, H, W) to (B, C, ceil(H / stride), ceil(W / stride))."""
        x = pad_same(x, list(self.kernel_size), list(self.stride), list(self.dilation))
        return strided_conv2d(x, self.weight, self.bias, _pair(self.stride), (0, 0), self.groups)


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    down, across = values
    return down, across


_DEPTHWISE: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: StridedDepthwise, Conv2dSame: StridedDepthwiseSame}

STRIDED = (StridedPointwise, *_DEPTHWISE.values())
"""The classes that stand for timm's."""
