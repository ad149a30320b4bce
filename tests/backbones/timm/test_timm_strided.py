"""Convolutions of 1 x 1 that skip cells of few bands."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from moat_det.backbones import create_backbone
from moat_det.backbones.timm.strided import StridedPointwise, take_strides


@pytest.mark.parametrize("name", ["fastvit_t8", "repvgg_a0", "mobileone_s0"])
def test_no_network_has_one_that_crashes(name: str) -> None:
    with torch.device("meta"):
        backbone = create_backbone(f"timm/{name}")
    few = [
        module
        for module in backbone.modules()
        if isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.groups == 1
        and module.stride[0] > 1
        and module.in_channels < 16
    ]
    assert few
    assert all(type(module) is StridedPointwise for module in few)


@pytest.mark.parametrize("shape", [(6, 8), (7, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_gives_what_torch_does(shape: tuple[int, int], bias: bool) -> None:
    torch.manual_seed(0)
    images, net = torch.randn(2, 3, *shape), nn.Sequential(nn.Conv2d(3, 5, 1, stride=(2, 3), bias=bias))
    names, expected = list(net.state_dict()), net(images)
    take_strides(net)
    assert type(net[0]) is StridedPointwise
    assert list(net.state_dict()) == names
    torch.testing.assert_close(net(images), expected)


def test_others_stay_as_they_are() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.Conv2d(16, 4, 1, 2), nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, groups=8)
    )
    take_strides(net)
    assert {type(module) for module in net} == {nn.Conv2d}


def test_a_training_ends_well() -> None:
    """In a process of its own, which torch's convolution would end."""
    code = """
import torch
from torch import nn
from moat_det.backbones.timm.strided import take_strides
net = nn.Sequential(nn.Conv2d(3, 48, 1, 2, bias=False)).to(memory_format=torch.channels_last)
take_strides(net)
for count in range(100):
    net(torch.rand(2, 3, 64, 96).contiguous(memory_format=torch.channels_last)).square().mean().backward()
    kept = [torch.rand(7 + count) for _ in range(50)]
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
