"""The dropped branches of timm's networks."""

from __future__ import annotations

import timm
import torch
from timm.layers import DropPath as TimmDropPath
from torch import nn

from moat_det.backbones import create_backbone
from moat_det.backbones.drop_path import DropPath
from moat_det.backbones.timm.drop_path import take_drop_paths


def test_a_network_drops_by_ours_as_often_as_by_timm_s() -> None:
    built = create_backbone("timm/mobilenetv3_small_050", drop_path_rate=0.5)
    assert not any(isinstance(module, TimmDropPath) for module in built.modules())
    rates = [module.rate for module in built.modules() if isinstance(module, DropPath)]
    theirs = timm.create_model("mobilenetv3_small_050", drop_path_rate=0.5)
    assert rates == [module.drop_prob for module in theirs.modules() if isinstance(module, TimmDropPath)]
    assert max(rates) > 0


def test_kept_branches_are_scaled_where_timm_s_are() -> None:
    net = nn.Sequential(TimmDropPath(0.5), TimmDropPath(0.5, scale_by_keep=False))
    take_drop_paths(net)
    for drop, kept in zip(net, (2.0, 1.0), strict=True):
        assert isinstance(drop, DropPath)
        torch.manual_seed(0)
        assert drop(torch.ones(64, 1, 1, 1)).unique().tolist() == [0.0, kept]


def test_a_rate_of_one_drops_all() -> None:
    net = nn.Sequential(TimmDropPath(1.0))
    take_drop_paths(net)
    assert torch.equal(net(torch.ones(4, 1, 1, 1)), torch.zeros(4, 1, 1, 1))
