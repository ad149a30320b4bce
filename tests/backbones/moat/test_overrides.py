"""Variants made of the released ones by keyword."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from moat_det.backbones import VARIANTS, create_backbone, find_variant
from moat_det.backbones.moat.attention import Attention
from moat_det.backbones.moat.blocks import MBConv, MOATBlock
from moat_det.backbones.moat.create import create_moat
from moat_det.backbones.moat.flops import count_multiply_adds
from moat_det.detector.build import build_model, find_config
from moat_det.engine.checkpoint import Checkpoint, load_checkpoint
from moat_det.errors import UserError

SMALL: dict[str, Any] = {"depths": (1, 1, 2, 1), "channels": (16, 32, 64, 128)}


def test_depths_and_channels() -> None:
    backbone = create_moat("tiny_moat0", **SMALL)
    assert [len(stage) for stage in backbone.stages] == [1, 1, 2, 1]
    assert backbone.channels == {"stage1": 32, "stage2": 16, "stage3": 32, "stage4": 64, "stage5": 128}
    maps = backbone.eval()(torch.zeros(1, 3, 64, 96))
    assert {name: tuple(m.shape[1:]) for name, m in maps.items()} == {
        name: (c, 64 // s, 96 // s) for (name, c), s in zip(backbone.channels.items(), (2, 4, 8, 16, 32), strict=True)
    }


@torch.no_grad()
def test_every_other_setting_reaches_its_layers() -> None:
    backbone = create_moat(
        "tiny_moat0",
        stem=[8, 16, 24],
        block_types=["mbconv", "moat", "mbconv", "moat", "moat"],
        depths=[1, 1, 1, 1, 1],
        channels=[16, 32, 32, 48, 64],
        strides=[2, 2, 1, 2, 2],
        position_sizes=[None, 8, None, 4, 2],
        expansion=3,
        se_ratio=0.5,
        head_size=16,
        norm_eps=1e-3,
        num_classes=5,
    )
    assert [type(stage[0]) for stage in backbone.stages] == [MBConv, MOATBlock, MBConv, MOATBlock, MOATBlock]
    assert backbone.strides == {f"stage{n}": s for n, s in enumerate((2, 4, 8, 8, 16, 32), 1)}
    assert [n for n, _ in backbone.stem.named_children()] == ["conv_0", "norm_0", "conv_1", "norm_1", "conv_2"]
    assert {b.expand_conv.out_channels / b.shrink_conv.out_channels for s in backbone.stages for b in s} == {3.0}
    assert backbone.stages[0][0].se.reduce_conv2d.out_channels == 8
    attentions = [module for module in backbone.modules() if isinstance(module, Attention)]
    assert [tuple(a.relative_position_embedding.shape) for a in attentions] == [(2, 15, 15), (3, 7, 7), (4, 3, 3)]
    assert {m.eps for m in backbone.modules() if isinstance(m, nn.LayerNorm)} == {1e-3}
    image = torch.randn(2, 3, 64, 96)
    backbone.eval().set_windows(4)
    logits = backbone(image)
    assert logits.shape == (2, 5)
    backbone.fold()
    assert torch.allclose(backbone(image), logits, atol=1e-5)
    assert count_multiply_adds(backbone, 64, 64).products > 0


def test_windows_are_given_for_each_stage_that_attends() -> None:
    three = {"depths": [1, 1, 1], "channels": [32, 32, 32], "block_types": ["moat", "mbconv", "moat"]}
    settings = {**three, "strides": [2, 2, 2], "position_sizes": [14, None, 7]}
    backbone = create_moat("tiny_moat0", **settings, window=[(3, 5), None, 7])
    assert [a.window for a in backbone.modules() if isinstance(a, Attention)] == [(3, 5), (7, 7)]
    backbone.set_windows("trained", trained_size=(64, 96))
    assert [a.window for a in backbone.modules() if isinstance(a, Attention)] == [(16, 24), (4, 6)]
    with pytest.raises(UserError, match="stage 2 has no attention; write None"):
        backbone.set_windows([7, 7, 7])


def test_initializers() -> None:
    torch.manual_seed(0)
    backbone = create_moat("tiny_moat0", **SMALL, kernel_init="he_normal", bias_init=0.5)
    kernel, attention = backbone.stages[2][1].shrink_conv, backbone.stages[2][1].attention
    assert kernel.weight.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.1)
    assert (kernel.bias == 0.5).all()
    assert (backbone.stages[2][1].pre_norm.bias == 0).all()
    assert attention.relative_position_embedding.std().item() == pytest.approx(0.02, rel=0.2)
    before = kernel.weight.clone()
    backbone.init_weights()
    assert torch.equal(kernel.weight, before), "a detector draws its own only where none was chosen"


def test_the_configuration_alone() -> None:
    assert find_variant("moat2") == VARIANTS["moat2"]
    variant = find_variant("tiny_moat0", **SMALL, expansion=2)
    assert variant == create_moat("tiny_moat0", **SMALL, expansion=2).variant
    assert (variant.depths, variant.expansion, variant.mean) == ((1, 1, 2, 1), 2, VARIANTS["tiny_moat0"].mean)
    plain = variant.to_dict()
    assert plain["channels"] == [16, 32, 64, 128]
    assert plain["block_types"] == ["mbconv", "mbconv", "moat", "moat"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"depths": [1, 1, 1]},
            r"depths \[1, 1, 1\]: 3 stages, and block_types has 4 stages: .* one length",
        ),
        ({"block_types": ["mbconv"]}, "depths .*: 4 stages, and block_types has 1 stage"),
        ({"channels": 32}, "channels 32: give a list"),
        ({"depth": [1, 1, 1, 1]}, r"unknown setting 'depth' \(did you mean 'depths'\?\); there are stem, depths, "),
        ({"block_types": ["mbconv", "mbconv", "moatt", "moat"]}, r"'moatt' is no type of block \(did you mean 'moat'"),
        ({"depths": [1, 0, 1, 1]}, "whole numbers, 1 or more"),
        ({"stem": []}, r"stem \[\]: must be"),
        ({"strides": [2, 2, 2, 3]}, "strides .*: must be 1 or 2"),
        ({"channels": [32, 64, 100, 128]}, "stage 3 attends: 100 must be a multiple of head_size 32"),
        ({"block_types": ["moat"] * 4}, "position_sizes .*: stage 1 attends"),
        ({"expansion": 0}, "expansion 0: must be a number above 0"),
        ({"head_size": 2.5}, "head_size 2.5"),
        ({"norm_eps": "small"}, "norm_eps 'small'"),
        ({"kernel_init": "glorot"}, "kernel_init 'glorot': must be normal or"),
        ({"bias_init": None}, "bias_init None"),
        ({"survival": 0.5}, "unknown setting 'survival'"),
        ({"name": "tiny_moat1", "base": "tiny_moat0"}, "tiny_moat1 is the name of a released variant"),
        ({"name": "mine", "base": "tiny"}, "no backbone 'tiny'"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        create_backbone(**{"name": "tiny_moat0", **overrides})
    assert "\n" not in str(error.value)


def test_a_variant_of_a_yaml_has_its_name_and_comes_back_from_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "slim.yaml"
    path.write_text("backbone: {name: slim_moat, base: tiny_moat0, depths: [1, 1, 2, 1], channels: [16, 32, 64, 128]}")
    config = find_config(path)
    assert config["neck"]["channels"] == [48, 96, 128]
    model = build_model(config, nc=2).eval()
    assert model.describe() == "detector on slim_moat"
    Checkpoint(config, dict(model.names), model.state_dict(), {}, {}).save(tmp_path / "best.pt")
    again = load_checkpoint(tmp_path / "best.pt").build()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(again(image)[0], model(image)[0])
    assert again.yaml["backbone"]["name"] == "slim_moat"
    path.write_text("backbone: {name: slim_moat, base: tiny_moat0, dephts: [1, 1, 2, 1]}")
    with pytest.raises(UserError, match=r"slim\.yaml: backbone: unknown key 'dephts' \(did you mean 'depths'\?\)"):
        find_config(path)


def test_its_weights_start_its_like_and_no_other(tmp_path: Path) -> None:
    backbone = create_moat("tiny_moat0", **SMALL, expansion=2)
    torch.save(backbone.state_dict(), tmp_path / "slim.pt")
    again = create_backbone("tiny_moat0", **SMALL, expansion=2, pretrained=tmp_path / "slim.pt")
    assert torch.equal(again.stem.conv_0.weight, backbone.stem.conv_0.weight)
    for other in ({}, {**SMALL, "expansion": 3}):
        with pytest.raises(UserError, match=r"slim\.pt does not fit the backbone"):
            create_backbone("tiny_moat0", **other, pretrained=tmp_path / "slim.pt")
    with pytest.raises(UserError, match="no weights were released"):
        create_backbone("tiny_moat0", head_size=16, pretrained="imagenet")
