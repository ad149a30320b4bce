"""SAME padding and drop path against their definitions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from moat_det.backbones.moat.layers import DropPath, SameConv2d, gelu, same_avg_pool


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
