from __future__ import annotations

import pytest
import torch

from moat_det.engine.optimizer import build_optimizer, split_parameters
from moat_det.errors import UserError
from moat_det.models.build import build_model


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return build_model({"backbone": "tiny_moat0", "neck": {"channels": [16, 16, 16]}}, nc=2)


def test_norms_biases_and_position_tables_do_not_decay(model: torch.nn.Module) -> None:
    decay, rest = split_parameters(model)
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[id(p)] for p in decay} | {names[id(p)] for p in rest} == {
        name for name, p in model.named_parameters() if p.requires_grad
    }
    assert all(names[id(p)].endswith("weight") for p in decay)
    assert not any("norm" in names[id(p)] or ".bn." in names[id(p)] for p in decay)
    assert sum(names[id(p)].endswith("relative_position_embedding") for p in rest) == 7 + 2


def test_the_groups_carry_what_the_engine_reads(model: torch.nn.Module) -> None:
    optimizer = build_optimizer(model, "auto", lr=1e-3, momentum=0.9, decay=0.02)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert [(g["param_group"], g["weight_decay"]) for g in optimizer.param_groups] == [("weight", 0.02), ("bn", 0.0)]


@pytest.mark.parametrize("name", ["AdamW", "adam", "SGD", "RMSProp", "NAdam"])
def test_optimizers_by_name(model: torch.nn.Module, name: str) -> None:
    assert type(build_optimizer(model, name, 1e-3, 0.9, 0.0)).__name__.lower() == name.lower()


def test_an_optimizer_that_does_not_exist(model: torch.nn.Module) -> None:
    with pytest.raises(UserError, match="AdamW"):
        build_optimizer(model, "Lion9", 1e-3, 0.9, 0.0)
