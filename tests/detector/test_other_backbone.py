"""A detector on a backbone that is no MOAT: other names, levels and norms, and no windows."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from moat_det.backbones.base import Backbone, FeatureInfo, GroupMatcher
from moat_det.detector import detector as module
from moat_det.detector.config import parse_config
from moat_det.detector.detector import Detector
from moat_det.engine.optimizer import build_optimizer, split_parameters
from moat_det.engine.window_chooser import WindowChooser
from moat_det.errors import UserError


class Pyramid(Backbone):
    """Strided convolutions to maps of reductions 8, 16 and 32, in the manner of a network of timm's."""

    first_conv = "conv"

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.mean, self.std = (0.5,) * in_channels, (0.25,) * in_channels
        self.feature_info = [FeatureInfo(8 * 2**i, 8 * 2**i, f"layers.{i}") for i in range(3)]
        self.conv = nn.Conv2d(in_channels, 8, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 8, 1, 1))
        widths = [8, *(info.num_chs for info in self.feature_info)]
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 2, 2), nn.BatchNorm2d(b, eps=1e-6)) for a, b in pairwise(widths)
        )

    def group_matcher(self, coarse: bool = False) -> GroupMatcher:
        return {"stem": r"conv|token", "blocks": r"stages\.(\d+)"}

    def no_weight_decay(self) -> set[str]:
        return {"token"}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x, maps = self.conv(x) + self.token, {}
        for info, layer in zip(self.feature_info, self.stages, strict=True):
            x = maps[info.module] = layer(x)
        return maps


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Detector]:
    def build(channels: int = 3, **neck: Any) -> Detector:
        torch.manual_seed(0)
        config = {"backbone": "pyramid", "neck": {"channels": [16, 16, 16], **neck}}
        return Detector(parse_config(config), nc=2, channels=channels)

    monkeypatch.setattr(module, "create_backbone", lambda name, in_channels: Pyramid(in_channels))
    return build


@pytest.mark.parametrize("levels", [[3, 4, 5], [4, 5, 6]])
def test_it_detects_trains_and_folds(build: Callable[..., Detector], levels: list[int]) -> None:
    model = build(levels=levels).eval()
    assert model.stride.tolist() == [2**level for level in levels]
    assert {m.eps for m in model.backbone.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-6}, "its own"
    assert {m.eps for m in model.neck.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}
    images = torch.rand(1, 3, 64, 128)
    folded = deepcopy(model).fuse(verbose=False)
    assert folded.is_fused()
    assert not model.is_fused()
    with torch.no_grad():
        assert torch.allclose(model(images)[0], folded(images)[0], atol=1e-3)
        assert model.model[0](images).mean().item() == pytest.approx((images.mean().item() - 0.5) / 0.25, abs=1e-4)


def test_it_says_what_does_not_decay_and_how_deep_it_is(build: Callable[..., Detector]) -> None:
    model = build()
    decay, rest = split_parameters(model)
    backbone = model.backbone
    assert isinstance(backbone, Pyramid)
    assert any(p is backbone.token for p in rest)
    assert any(p is backbone.conv.weight for p in decay)
    optimizer = build_optimizer(model, "AdamW", lr=1.0, momentum=0.9, decay=0.1, layer_decay=0.5)
    rates = {p: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates[backbone.conv.weight] == rates[backbone.token] == 0.5**4
    assert rates[backbone.stages[2].get_parameter("0.weight")] == 0.5
    assert rates[model.neck.lateral[0].conv.weight] == 1.0


def test_it_has_no_windows(build: Callable[..., Detector]) -> None:
    model = build()
    chooser = WindowChooser(model, None)
    assert chooser.set(64, 64) == ""
    assert chooser.window is None
    assert chooser.others() == []
    with pytest.raises(UserError, match="--window"):
        WindowChooser(model, None, window="auto")


def test_levels_that_it_does_not_have_are_refused(build: Callable[..., Detector]) -> None:
    with pytest.raises(UserError, match="8, 16, 32"):
        build(levels=[2, 3, 4])


def test_its_first_kernel_is_known(build: Callable[..., Detector]) -> None:
    assert build(channels=5).state_dict()[build().first_kernel].shape[1] == 5
