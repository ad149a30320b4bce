"""Which norms fold, found by watching a pass, and that the function stays."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from timm.layers import BatchNormAct2d, ScaledStdConv2d
from torch import Tensor, nn

from moat_det.backbones import create_backbone
from moat_det.backbones.timm.fold import fold_norms


def shake(net: nn.Module) -> nn.Module:
    """Give norms statistics and weights other than 0 and 1."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    return net.eval()


def norms(net: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "left"),
    [("mobilevit_xxs", 0), ("mobilenetv2_100", 0), ("tf_efficientnet_lite0", 0), ("resnet18", 0), ("test_coatnet", 2)],
)
def test_the_maps_stay(name: str, left: int) -> None:
    backbone = shake(create_backbone(f"timm/{name}"))
    folded = deepcopy(backbone)
    folded.fold()
    assert norms(backbone) > norms(folded) == left
    image = torch.randn(2, 3, 96, 64)
    for before, after in zip(backbone(image).values(), folded(image).values(), strict=True):
        assert torch.allclose(before, after, atol=1e-4 * before.abs().max())


@torch.no_grad()
def test_a_stem_that_rearranges_the_bands_folds() -> None:
    backbone = shake(create_backbone("timm/tresnet_m", in_channels=4))
    folded, image = deepcopy(backbone), torch.randn(1, 4, 64, 64)
    folded.fold()
    assert norms(folded) < norms(backbone)
    for before, after in zip(backbone(image).values(), folded(image).values(), strict=True):
        assert torch.allclose(before, after, atol=1e-4 * before.abs().max())


class Mixed(nn.Module):
    """What folds, and what must not."""

    def __init__(self) -> None:
        super().__init__()
        self.plain, self.plain_norm = nn.Conv2d(3, 4, 3, groups=1, bias=False), nn.BatchNorm2d(4)
        self.active, self.active_norm = nn.Conv2d(4, 4, 1), BatchNormAct2d(4, act_layer=nn.SiLU)
        self.read_twice, self.read_twice_norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.called_twice, self.called_twice_norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.made_anew, self.made_anew_norm = ScaledStdConv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.behind_sum_norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.active_norm(self.active(self.plain_norm(self.plain(x))))
        y = self.read_twice(x)
        x = self.read_twice_norm(y) + y
        x = self.called_twice_norm(self.called_twice(self.called_twice_norm(self.called_twice(x))))
        return self.behind_sum_norm(x + self.made_anew_norm(self.made_anew(x)))


@torch.no_grad()
def test_only_a_norm_that_alone_reads_a_convolution_folds() -> None:
    net = shake(Mixed())
    folded = deepcopy(net)
    fold_norms(folded, torch.zeros(1, 3, 8, 8))
    gone = {key for key, module in net.named_children() if key.endswith("norm")} - {
        key for key, module in folded.named_children() if isinstance(module, nn.BatchNorm2d)
    }
    assert gone == {"plain_norm", "active_norm"}
    assert isinstance(folded.active_norm, nn.SiLU)
    image = torch.randn(2, 3, 16, 16)
    assert torch.allclose(net(image), folded(image), atol=1e-5)
