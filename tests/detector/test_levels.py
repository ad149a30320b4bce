"""The neck and head over other levels than the usual three."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from moat_det.backbones import list_backbones
from moat_det.backbones.timm.names import is_timm, list_timm
from moat_det.detector.build import build_model, find_config
from moat_det.detector.config import parse_config
from moat_det.detector.detector import Detector
from moat_det.errors import UserError
from moat_det.paths import cfg_dir


def detector(levels: list[int]) -> Detector:
    torch.manual_seed(0)
    channels = [16 + 8 * i for i in range(len(levels))]
    neck = {"channels": channels, "levels": levels}
    model = build_model({"backbone": "tiny_moat0", "neck": neck, "head": {"reach": 256}}, nc=2)
    assert isinstance(model, Detector)
    model.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    return model


@pytest.mark.parametrize("levels", [[2, 3, 4, 5], [3, 4, 5, 6], [2, 3, 4, 5, 6], [4, 5]])
def test_a_detector_trains_and_detects_at_its_levels(levels: list[int]) -> None:
    model = detector(levels)
    strides = [2**level for level in levels]
    assert model.stride.tolist() == strides
    image = torch.rand(2, 3, 64, 128)
    batch = {
        "img": image,
        "batch_idx": torch.tensor([0.0, 1.0]),
        "cls": torch.tensor([[0.0], [1.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.9, 0.8], [0.3, 0.6, 0.03, 0.05]]),
    }
    loss, _ = model.train()(batch)
    loss.sum().backward()
    assert loss.min() > 0
    gradients = {name: p.grad for name, p in model.named_parameters() if "dfl" not in name}
    assert not [name for name, gradient in gradients.items() if gradient is None], "a part is not used"
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values() if gradient is not None)
    with torch.no_grad():
        decoded, raw = model.eval()(image)
    assert [tuple(x.shape[-2:]) for x in raw["feats"]] == [(64 // s, 128 // s) for s in strides]
    assert decoded.shape == (2, 6, sum(64 * 128 // s**2 for s in strides))


def test_folded_and_unfolded_agree_at_all_levels() -> None:
    model, image = detector([2, 3, 4, 5, 6]).eval(), torch.rand(1, 3, 64, 128)
    with torch.no_grad():
        before = model(image)[0]
        after = model.fuse(verbose=False)(image)[0]
    assert torch.allclose(before, after, atol=1e-3)


@pytest.mark.parametrize("size", [64.0, (96, 1024), [512, 512]])
def test_every_level_expects_the_same_number_of_objects(size: Any) -> None:
    model = detector([2, 3, 4, 5])
    model.head.bias_init(size, objects=5)
    height, width = (size, size) if isinstance(size, float) else size
    for level, stride in zip(model.head.cv3, (4, 8, 16, 32), strict=True):
        expected = level[-1].bias.exp().sum().item() * (height / stride) * (width / stride)
        assert expected == pytest.approx(5, rel=1e-4)


def test_the_usual_neck_keeps_its_names_and_its_size() -> None:
    """Checkpoints that were written before levels could be chosen load on."""
    with torch.device("meta"):
        model = build_model(find_config("tiny_moat0"), nc=80)
    names = dict(model.model[2].named_children())
    assert list(names) == [
        "normalize", "lateral", "up", "top_down4", "top_down3", "down3", "bottom_up4", "down4", "bottom_up5",
    ]  # fmt: skip
    assert sum(p.numel() for p in model.parameters()) == 5_006_524
    assert "model.head.dfl.conv.weight" in model.state_dict()


def test_a_configuration_from_before_has_neither_reach_nor_levels() -> None:
    config = parse_config({"backbone": "tiny_moat0", "neck": {"channels": [16, 16, 16]}, "head": {"reg_max": 16}})
    assert config.neck.levels == (3, 4, 5)
    assert config.head.reach is None


@pytest.mark.parametrize("path", sorted(cfg_dir().glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_of_ours_builds_and_reaches_far(path: Any) -> None:
    mapping = find_config(path)
    with torch.device("meta"):
        model = build_model(mapping, nc=3)
    assert mapping["head"]["reach"] * min(model.stride.tolist()) >= 1024
    name = mapping["backbone"]["name"]
    assert name in (list_timm() if is_timm(name) else list_backbones())
    assert len(model.stride) == len(mapping["neck"]["channels"])
    config = parse_config(mapping)
    assert parse_config(config.to_dict()) == config


@pytest.mark.parametrize(
    ("neck", "head", "named"),
    [
        ({"levels": [3, 5]}, {}, "levels"),
        ({"levels": [5, 4]}, {}, "levels"),
        ({"levels": [1, 2]}, {}, "levels"),
        ({"levels": [6, 7]}, {}, "levels"),
        ({"levels": "3, 4"}, {}, "levels"),
        ({"levels": [2, 3, 4, 5]}, {}, r"4 whole numbers.*P2, P3, P4, P5"),
        ({}, {"reg_max": 0}, "reg_max"),
        ({}, {"reach": 15}, "reach.*above reg_max - 1 = 15"),
        ({}, {"reach": "far"}, "reach"),
        ({}, {"reach": float("inf")}, "reach"),
        ({}, {"reach": 100, "reg_max": 1}, "single bin"),
    ],
)
def test_what_cannot_be_built_is_said(neck: dict[str, Any], head: dict[str, Any], named: str) -> None:
    mapping = {"backbone": "tiny_moat0", "neck": {"channels": [16, 16, 16], **neck}, "head": head}
    with pytest.raises(UserError, match=named):
        parse_config(mapping, "mine.yaml")
