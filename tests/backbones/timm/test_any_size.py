"""CoAtNet and MaxViT at sizes that timm does not build them for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from moat_det.backbones.position_bias import fit_table
from moat_det.backbones.timm import any_size
from moat_det.backbones.timm.any_size import take_any_size
from moat_det.backbones.timm.backbone import TimmBackbone

SMALL = {"embed_dim": (16, 16, 32, 64), "depths": (1, 1, 1, 1), "stem_width": 16}
KINDS = ["coatnet_nano_rw_224", "coatnet_rmlp_nano_rw_224", "maxvit_nano_rw_256", "maxvit_tiny_tf_224"]
TWO_ATTENTIONS = ["maxvit_tiny_pm_256", "maxxvitv2_nano_rw_256"]


def network(name: str, img_size: int) -> nn.Module:
    torch.manual_seed(0)
    widths = {**SMALL, "embed_dim": (64, 64, 64, 64)} if name in TWO_ATTENTIONS else {**SMALL, "embed_dim": (32,) * 4}
    net = timm.create_model(name, img_size=img_size, num_classes=0, **widths).eval()
    for key, parameter in net.named_parameters():
        if "rel_pos" in key:
            nn.init.normal_(parameter, std=1.0)
    return net


@torch.no_grad()
@pytest.mark.parametrize("name", KINDS + TWO_ATTENTIONS)
def test_at_its_own_size_nothing_changes(name: str) -> None:
    net = network(name, 128)
    image, keys = torch.randn(2, 3, 128, 128), list(net.state_dict())
    before = net(image)
    take_any_size(net)
    assert torch.allclose(net(image), before, atol=1e-5)
    assert list(net.state_dict()) == keys
    assert not any("index" in name or "lookup" in name for name, _ in net.named_buffers())


@pytest.mark.parametrize("name", KINDS + TWO_ATTENTIONS)
def test_it_trains_at_any_multiple_of_32_and_keeps_its_parameters(name: str) -> None:
    net = network(name, 64).train()
    take_any_size(net)
    before = dict(net.named_parameters())
    for height, width in ((32, 96), (160, 64)):
        maps = net.forward_intermediates(torch.randn(2, 3, height, width), intermediates_only=True)
        assert [tuple(m.shape[2:]) for m in maps] == [(height >> n, width >> n) for n in range(1, 6)]
        sum(m.square().mean() for m in maps).backward()
    assert all(parameter is before[key] for key, parameter in net.named_parameters())
    tables = [p for key, p in before.items() if "rel_pos" in key]
    assert tables
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in tables if p.ndim > 1)


@torch.no_grad()
def test_a_larger_map_gets_the_table_that_timm_would_be_given() -> None:
    """Stretched to the map, as ours is: what a network of timm's for that size computes with the stretched tables."""
    small, large = network("coatnet_nano_rw_224", 64), network("coatnet_nano_rw_224", 96)
    weights = small.state_dict()
    for key, value in weights.items():
        if key.endswith("relative_position_bias_table"):
            side = round(len(value) ** 0.5)
            rows = (round(len(large.state_dict()[key]) ** 0.5) + 1) // 2
            weights[key] = fit_table(value.T.unflatten(1, (side, side)), (rows, rows)).flatten(1).T
    large.load_state_dict(weights)
    image = torch.randn(1, 3, 96, 96)
    expected = large(image)
    take_any_size(small)
    assert torch.allclose(small(image), expected, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", ["maxvit_nano_rw_256", *TWO_ATTENTIONS])
def test_what_is_padded_has_no_part_in_the_attention(name: str) -> None:
    """Whatever lies in the padding, the cells of the map get the same."""
    net = network(name, 128)
    take_any_size(net)
    blocks = [module for module in net.modules() if hasattr(module, "partition_size")]
    assert blocks
    for block in blocks:
        channels_first = hasattr(block, "rows") and block.rows == 2
        size = (2, 64, 6, 7) if channels_first else (2, 6, 7, 64 if name in TWO_ATTENTIONS else 32)
        x = torch.randn(size)
        found = block._partition_attn(x)
        assert found.shape == x.shape
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(any_size, "F", SimpleNamespace(pad=lambda x, to, value=0.0: F.pad(x, to, value=value or 7.0)))
            assert torch.allclose(block._partition_attn(x), found, atol=1e-5)


@torch.no_grad()
def test_a_map_smaller_than_a_window_is_attended_as_a_whole() -> None:
    net = network("maxvit_nano_rw_256", 256)
    take_any_size(net)
    block = next(m for m in net.modules() if getattr(m, "partition_block", False))
    x = torch.randn(1, 3, 5, 32)
    attention, plain = block.attn, block._partition_attn(x)
    attention.rel_pos.tokens = 8, 8
    bias = attention.rel_pos.get_bias()[0].unflatten(2, (8, 8)).unflatten(1, (8, 8))
    bias = bias[:, :3, :5, :3, :5].flatten(3).flatten(1, 2)
    q, k, v = attention.qkv(x).view(1, 15, attention.num_heads, -1).transpose(1, 2).chunk(3, 3)
    expected = F.scaled_dot_product_attention(q, k, v, bias[None]).transpose(1, 2).reshape(1, 3, 5, 32)
    assert torch.allclose(plain, attention.proj(expected), atol=1e-5)


def test_the_windows_of_swin_are_padded_by_timm() -> None:
    backbone = TimmBackbone("timm/swin_tiny_patch4_window7_224", embed_dim=24, depths=(1, 1, 1, 1)).eval()
    maps = backbone(torch.randn(1, 3, 64, 160))
    assert [tuple(m.shape[1:]) for m in maps.values()] == [(24, 16, 40), (48, 8, 20), (96, 4, 10), (192, 2, 5)]
