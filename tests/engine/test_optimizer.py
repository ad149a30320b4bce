from __future__ import annotations

import pytest
import torch

from moat_det.detector.build import build_model
from moat_det.detector.detector import Detector
from moat_det.engine.optimizer import build_optimizer, split_parameters
from moat_det.errors import UserError


@pytest.fixture(scope="module")
def model() -> Detector:
    model = build_model({"backbone": "tiny_moat0", "neck": {"channels": [16, 16, 16]}}, nc=2)
    assert isinstance(model, Detector)
    return model


def test_norms_biases_and_position_tables_do_not_decay(model: Detector) -> None:
    decay, rest = split_parameters(model)
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[id(p)] for p in decay} | {names[id(p)] for p in rest} == {
        name for name, p in model.named_parameters() if p.requires_grad
    }
    assert all(names[id(p)].endswith("weight") for p in decay)
    assert not any("norm" in names[id(p)] or ".bn." in names[id(p)] for p in decay)
    assert sum(names[id(p)].endswith("relative_position_embedding") for p in rest) == 7 + 2


def test_the_groups_carry_what_the_engine_reads(model: Detector) -> None:
    optimizer = build_optimizer(model, "auto", lr=1e-3, momentum=0.9, decay=0.02)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert [(g["param_group"], g["weight_decay"]) for g in optimizer.param_groups] == [("weight", 0.02), ("bn", 0.0)]


def test_layer_decay_slows_the_backbone_from_neck_to_stem(model: Detector) -> None:
    optimizer = build_optimizer(model, "AdamW", lr=1e-3, momentum=0.9, decay=0.02, layer_decay=0.5)
    group_of = {p: group for group in optimizer.param_groups for p in group["params"]}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(group_of)
    assert set(group_of) == {p for p in model.parameters() if p.requires_grad}

    depths = (2, 3, 7, 2)
    blocks = [f"stages.{stage}.{block}" for stage, depth in enumerate(depths) for block in range(depth)]
    layers = [f"model.backbone.{name}." for name in ("stem", *blocks)]
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            layer = next((index for index, prefix in enumerate(layers) if name.startswith(prefix)), len(layers))
            assert ("backbone" in name) == (layer < len(layers)), name
            assert group_of[parameter]["lr"] == pytest.approx(1e-3 * 0.5 ** (len(layers) - layer)), name
    decay, rest = split_parameters(model)
    assert {(group_of[p]["weight_decay"], group_of[p]["param_group"]) for p in decay} == {(0.02, "weight")}
    assert {(group_of[p]["weight_decay"], group_of[p]["param_group"]) for p in rest} == {(0.0, "bn")}
    assert [group["lr"] for group in optimizer.param_groups[:2]] == [1e-3, 1e-3]


def test_layer_decay_of_a_model_whose_backbone_is_frozen(model: Detector) -> None:
    frozen = [p for p in model.backbone.parameters() if p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    optimizer = build_optimizer(model, "AdamW", lr=1e-3, momentum=0.9, decay=0.02, layer_decay=0.5)
    for parameter in frozen:
        parameter.requires_grad_(True)
    assert {group["lr"] for group in optimizer.param_groups if group["params"]} == {1e-3}
    optimizer.step()


@pytest.mark.parametrize("name", ["AdamW", "adam", "SGD", "RMSProp", "NAdam"])
def test_optimizers_by_name(model: Detector, name: str) -> None:
    assert type(build_optimizer(model, name, 1e-3, 0.9, 0.0)).__name__.lower() == name.lower()


def test_an_optimizer_that_does_not_exist(model: Detector) -> None:
    with pytest.raises(UserError, match="AdamW"):
        build_optimizer(model, "Lion9", 1e-3, 0.9, 0.0)
