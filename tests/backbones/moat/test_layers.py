"""SAME padding and drop path against their definitions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from moat_det.backbones.drop_path import DropPath
from moat_det.backbones.moat.layers import SameConv2d, conv_gelu, gelu, same_avg_pool


def padding(n: int, kernel: int) -> tuple[int, int]:
    """TensorFlow's SAME padding before and after a side of n, for stride 2."""
    total = max((-(-n // 2) - 1) * 2 + kernel - n, 0)
    return total // 2, total - total // 2


def padded(x: Tensor, kernel: int) -> Tensor:
    return F.pad(x, (*padding(x.shape[3], kernel), *padding(x.shape[2], kernel)))


SIZES = [(1, 1), (2, 1), (2, 2), (3, 4), (4, 3), (5, 5), (8, 8), (9, 6)]


@pytest.mark.parametrize("gradients", [True, False])  # pad the map or the kernel
@pytest.mark.parametrize("size", SIZES)
def test_same_convolution(size: tuple[int, int], gradients: bool) -> None:
    conv, x = SameConv2d(4, 4, stride=2, groups=2), torch.randn(2, 4, *size)
    expected = F.conv2d(padded(x, 3), conv.weight, conv.bias, stride=2, groups=2)
    assert expected.shape[2:] == (-(-size[0] // 2), -(-size[1] // 2))
    with torch.set_grad_enabled(gradients):
        torch.testing.assert_close(conv(x), expected)


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("size", SIZES)
def test_same_average_pooling(size: tuple[int, int], kernel: int) -> None:
    x = torch.randn(2, 4, *size)
    summed, counted = (
        F.conv2d(padded(t, kernel), torch.ones(4, 1, kernel, kernel), stride=2, groups=4)
        for t in (x, torch.ones_like(x))
    )
    torch.testing.assert_close(same_avg_pool(x, kernel), summed / counted)


def test_drop_path_drops_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    drop, x = DropPath(0.25), torch.ones(4000, 2, 3)
    out = drop(x)
    scale = out[:, :1, :1]
    assert torch.equal(out, scale.expand_as(x))
    assert scale.unique().tolist() == pytest.approx([0, 4 / 3])
    assert out.mean().item() == pytest.approx(1, abs=0.05)
    assert not torch.equal(drop(x), out)
    assert drop.eval()(x) is x


def test_gelu_overwrites_only_where_no_gradient_needs_its_input() -> None:
    x = torch.randn(5, requires_grad=True)
    kept = x.detach().clone()
    gelu(x * 1).sum().backward()
    assert torch.equal(x.detach(), kept)
    with torch.no_grad():
        y = kept.clone()
        assert gelu(y) is y
    assert torch.equal(y, F.gelu(kept))


@pytest.mark.parametrize("size", [(8, 6), (7, 5)])
@pytest.mark.parametrize("layer", ["same", "strided", "depthwise", "pointwise"])
def test_a_convolution_with_gelu_is_one_after_the_other(layer: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    conv = {
        "same": lambda: SameConv2d(8, 16),
        "strided": lambda: SameConv2d(8, 16, stride=2),
        "depthwise": lambda: SameConv2d(8, 8, stride=2, groups=8),
        "pointwise": lambda: nn.Conv2d(8, 16, 1),
    }[layer]()
    x = torch.randn(2, 8, *size)
    expected = nn.functional.gelu(conv(x)).detach()  # with gradients: as it is trained
    with torch.inference_mode():
        assert_close(conv_gelu(conv, nn.Identity(), x), expected)
        norm = nn.BatchNorm2d(expected.shape[1], eps=0).eval()
        assert_close(conv_gelu(conv, norm, x), expected)
        with torch.autocast("cpu", torch.bfloat16):
            low = conv_gelu(conv, nn.Identity(), x)
    assert low.dtype == torch.bfloat16
    assert_close(low.float(), expected, atol=0.03, rtol=0.03)


def test_a_convolution_with_gelu_counts_as_a_convolution() -> None:
    x, conv = torch.randn(1, 8, 6, 6), SameConv2d(8, 16)
    counts = []
    for norm in (nn.Identity(), nn.BatchNorm2d(16).eval()):  # in one kernel, and in several
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            conv_gelu(conv, norm, x)
        counts.append(counter.get_total_flops())
    assert counts == [2 * 16 * 8 * 9 * 36] * 2
