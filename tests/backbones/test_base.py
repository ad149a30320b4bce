"""The protocol of backbones: what MOAT says of itself, and the layers that timm's way of naming them gives."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from torch import Tensor, nn

from moat_det.backbones import create_backbone
from moat_det.backbones.base import Backbone, GroupMatcher, Windowed


class Named(Backbone):
    """Parameters of any names."""

    def __init__(self, names: list[str], matcher: GroupMatcher) -> None:
        super().__init__()
        self._matcher = matcher
        for name in names:
            *path, last = name.split(".")
            module: nn.Module = self
            for part in path:
                if not hasattr(module, part):
                    module.add_module(part, nn.Module())
                module = getattr(module, part)
            module.register_parameter(last, nn.Parameter(torch.zeros(1)))

    def group_matcher(self, coarse: bool = False) -> GroupMatcher:
        return self._matcher

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {}


def layers(backbone: Backbone, coarse: bool = False) -> list[list[str]]:
    names = {parameter: name for name, parameter in backbone.named_parameters()}
    return [[names[parameter] for parameter in layer] for layer in backbone.group_parameters(coarse)]


@pytest.mark.parametrize(
    ("matcher", "expected"),
    [
        (
            {"stem": r"stem", "blocks": r"blocks\.(\d+)"},
            [["stem.w"], ["blocks.2.w"], ["blocks.10.w", "blocks.10.b"], ["norm.w"]],
        ),
        (  # of a group with several patterns, each with the numbers that follow its own; 99999 joins the layer before
            {"stem": r"stem", "blocks": [(r"blocks\.(\d+)", None), (r"norm", (99999,))]},
            [["stem.w"], ["blocks.2.w"], ["blocks.10.w", "blocks.10.b", "norm.w"]],
        ),
        ({"all": r""}, [["norm.w", "stem.w", "blocks.10.w", "blocks.10.b", "blocks.2.w"]]),
    ],
)
def test_layers_go_from_the_input_to_the_output(matcher: GroupMatcher, expected: list[list[str]]) -> None:
    backbone = Named(["norm.w", "stem.w", "blocks.10.w", "blocks.10.b", "blocks.2.w"], matcher)
    assert layers(backbone) == expected


def test_moat_says_what_is_asked_of_a_backbone() -> None:
    backbone = create_backbone("tiny_moat0")
    assert isinstance(backbone, Backbone)
    assert isinstance(backbone, Windowed)
    assert [(info.module, info.reduction, info.num_chs) for info in backbone.feature_info] == [
        ("stage1", 2, 32),
        ("stage2", 4, 32),
        ("stage3", 8, 64),
        ("stage4", 16, 128),
        ("stage5", 32, 256),
    ]
    fine, coarse = layers(backbone), layers(backbone, coarse=True)
    assert len(fine) == 1 + 2 + 3 + 7 + 2
    assert len(coarse) == 1 + 4
    for grouped in (fine, coarse):
        assert sorted(chain(*grouped)) == sorted(name for name, _ in backbone.named_parameters())
    assert all(name.startswith("stem.") for name in fine[0])
    assert all(name.startswith("stages.3.1.") for name in fine[-1])
    assert len(backbone.no_weight_decay()) == 7 + 2
    assert backbone.get_parameter(f"{backbone.first_conv}.weight").shape[1] == 3


def test_a_classification_head_is_the_last_layer() -> None:
    last = layers(create_backbone("tiny_moat0", num_classes=3))[-1]
    assert last == ["final_layer_norm.weight", "final_layer_norm.bias", "logits_head.weight", "logits_head.bias"]
