"""TensorFlow's SAME padding, convolutions with GELU, squeeze-and-excitation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import conv_flop_count, register_flop_formula

from moat_det.backbones.strided_depthwise import strided_conv2d


def is_exporting() -> bool:
    """Whether the model is being traced into a file for another runtime."""
    return torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export() or torch.jit.is_tracing()


class SameConv2d(nn.Conv2d):
    """A 3x3 convolution whose output has ceil(n / stride) pixels along each side of n.

    SAME puts the odd pixel of padding at the bottom and the right: with stride 2, an even side is padded by
    (0, 1), an odd one by (1, 1). The usual `padding=1` would shift the picture by a pixel on even sides.
    """

    def __init__(self, cin: int, cout: int, *, stride: int = 1, groups: int = 1, bias: bool = True) -> None:
        super().__init__(cin, cout, 3, stride, padding=1, groups=groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, Cin, H, W) to (B, Cout, ceil(H / stride), ceil(W / stride))."""
        if self.stride[0] == 1:
            return super().forward(x)
        odd_h, odd_w = x.shape[2] % 2, x.shape[3] % 2
        if torch.is_grad_enabled() or torch.onnx.is_in_onnx_export() or torch.compiler.is_exporting():
            x = F.pad(x, (odd_w, 1, odd_h, 1))
            stride = self.stride[0], self.stride[1]
            return strided_conv2d(x, self.weight, self.bias, stride, (0, 0), self.groups)
        return F.conv2d(x, self.kernel(x), self.bias, self.stride, 1, groups=self.groups)

    def kernel(self, x: Tensor) -> Tensor:
        """Give the kernel whose convolution with `x`, padded by 1 on every side, has the sums of SAME padding.

        So x, the largest map of the network, needs no padded copy: on even sides the padding meets a row or column of
        zeros. Backward such kernels are several times slower, and ONNX wants kernels that are constant.
        """
        if self.stride[0] == 1:
            return self.weight
        return F.pad(self.weight, (1 - x.shape[3] % 2, 0, 1 - x.shape[2] % 2, 0))


def conv_gelu(conv: nn.Conv2d, norm: nn.Module, x: Tensor) -> Tensor:
    """Convolve (B, Cin, H, W), normalise, and take the GELU: in one pass over the map where the norm is folded."""
    if not isinstance(norm, nn.Identity) or not _fuses(x):
        return gelu(norm(conv(x)))
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    kernel = conv.kernel(x) if isinstance(conv, SameConv2d) else conv.weight
    bias = None if conv.bias is None else conv.bias.to(dtype)
    settings = conv.padding, conv.stride, conv.dilation, conv.groups
    return torch.ops.mkldnn._convolution_pointwise(x.to(dtype), kernel.to(dtype), bias, *settings, "gelu", [], "none")


def _fuses(x: Tensor) -> bool:
    """Whether oneDNN is there to take convolution and GELU together, and nothing needs what is between them."""
    if torch.is_grad_enabled() or is_exporting() or torch.compiler.is_compiling() or x.device.type != "cpu":
        return False
    dtypes = {x.dtype, torch.get_autocast_dtype("cpu")} if torch.is_autocast_enabled("cpu") else {x.dtype}
    if not torch.backends.mkldnn.is_available() or not dtypes <= {torch.float32, torch.bfloat16}:
        return False
    # Without the instructions for bfloat16 the kernel refuses it, where torch's own convolution emulates it.
    return torch.bfloat16 not in dtypes or torch.ops.mkldnn._is_mkldnn_bf16_supported()


@register_flop_formula(torch.ops.mkldnn._convolution_pointwise)
def _(x: list[int], kernel: list[int], *_: object, out_shape: list[int], **__: object) -> int:
    return conv_flop_count(x, kernel, out_shape)


def gelu(x: Tensor) -> Tensor:
    """Compute GELU by the error function; overwrites `x` where no gradient can need it."""
    return F.gelu(x) if torch.is_grad_enabled() else torch.ops.aten.gelu_(x)


def same_avg_pool(x: Tensor, kernel: int) -> Tensor:
    """Halve (B, C, H, W) by SAME average pooling of kernel 2 or 3; padded cells do not count in the mean."""
    h, w = x.shape[2:]
    padding = (h % 2, w % 2) if kernel == 3 else 0
    return F.avg_pool2d(x, kernel, 2, padding, ceil_mode=True, count_include_pad=False)


class SqueezeExcite(nn.Module):
    """Gates channels by the mean of the map: 1x1 convolution, SiLU, 1x1 convolution, sigmoid."""

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.reduce_conv2d = nn.Conv2d(channels, reduced, 1)
        self.expand_conv2d = nn.Conv2d(reduced, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of (B, C, H, W)."""
        gate = self.reduce_conv2d(x.mean((2, 3), keepdim=True))
        return x * self.expand_conv2d(F.silu(gate)).sigmoid()
