"""The fast gradient of strided depthwise convolutions, and that the networks use it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moat_det.backbones import create_backbone
from moat_det.backbones.strided_depthwise import StridedDepthwise, strided_conv2d

# Height and width, kernel, stride, padding: even and odd sides, windows that end before the side does.
CASES = [
    ((9, 10), (3, 3), (2, 2), (1, 1)),
    ((8, 8), (3, 3), (2, 2), (0, 0)),
    ((11, 14), (5, 3), (2, 3), (2, 0)),
    ((13, 13), (7, 7), (4, 2), (3, 3)),
    ((6, 7), (2, 2), (2, 2), (0, 1)),
]


@pytest.mark.parametrize(("size", "kernel", "stride", "padding"), CASES)
def test_gradients_are_those_of_the_convolution(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 1, *kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)

    def found(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return StridedDepthwise.apply(x, weight, bias, stride, padding)

    assert torch.equal(found(x, weight, bias), F.conv2d(x, weight, bias, stride, padding, groups=3))
    assert torch.autograd.gradcheck(found, (x, weight, bias))


def test_in_bfloat16_the_gradients_are_rounded_and_no_more() -> None:
    torch.manual_seed(0)
    exact = [torch.randn(2, 8, 15, 16), torch.randn(8, 1, 3, 3)]
    rounded = [tensor.bfloat16().requires_grad_() for tensor in exact]
    exact = [tensor.detach().double().requires_grad_() for tensor in rounded]
    to_come = torch.randn(2, 8, 7, 7).bfloat16()
    strided_conv2d(rounded[0], rounded[1], None, (2, 2), (0, 0), 8).backward(to_come)
    F.conv2d(exact[0], exact[1], None, 2, 0, groups=8).backward(to_come.double())
    for few, many in zip(rounded, exact, strict=True):
        assert few.grad is not None
        assert many.grad is not None
        assert few.grad.dtype == torch.bfloat16
        # half a unit in the last of bfloat16's eight places, of sums that may nearly cancel
        assert (few.grad.double() - many.grad).abs().max() <= 2**-8 * many.grad.abs().max()


def _fast_ones(result: Tensor) -> int:
    """Count the convolutions behind a result whose gradient is ours."""
    seen, waiting = set(), [result.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [following for following, _ in node.next_functions]
    return sum("StridedDepthwise" in node.name() for node in seen)


@pytest.mark.parametrize(
    ("name", "number"), [("tiny_moat0", 4), ("timm/mobilenetv2_050", 4), ("timm/tf_efficientnet_lite0", 4)]
)
def test_networks_use_it_in_bfloat16_alone(name: str, number: int) -> None:
    backbone: nn.Module = create_backbone(name).train()
    image = torch.rand(2, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        assert _fast_ones(sum(map_.float().sum() for map_ in backbone(image).values())) == number  # type: ignore[arg-type]
    assert _fast_ones(sum(map_.sum() for map_ in backbone(image).values())) == 0  # type: ignore[arg-type]
