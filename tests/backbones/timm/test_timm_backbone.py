"""A network of timm's behind the protocol of a backbone."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch

from moat_det.backbones import create_backbone
from moat_det.backbones.timm import names
from moat_det.backbones.timm.names import list_timm
from moat_det.errors import UserError

OF_EACH_KIND = [
    *("coatnet_nano_rw_224", "mobilevit_xxs", "maxvit_nano_rw_256", "convnextv2_atto", "swin_tiny_patch4_window7_224"),
    *("mobilenetv2_100", "tf_efficientnet_lite0", "resnet18", "poolformer_s12", "hrnet_w18_small", "densenet121"),
]


@pytest.mark.parametrize("name", OF_EACH_KIND)
def test_maps_are_chosen_by_stride_and_channels_come_first(name: str) -> None:
    with torch.device("meta"):
        backbone = create_backbone(f"timm/{name}").eval()
        maps = backbone(torch.empty(2, 3, 64, 96))
    assert list(backbone.strides.values()) == [4, 8, 16, 32]
    assert {key: tuple(m.shape) for key, m in maps.items()} == {
        info.module: (2, info.num_chs, 64 // info.reduction, 96 // info.reduction) for info in backbone.feature_info
    }


@pytest.mark.parametrize("name", OF_EACH_KIND)
def test_every_parameter_is_used_and_has_a_layer(name: str) -> None:
    with torch.device("meta"):
        backbone = create_backbone(f"timm/{name}").train()
        sum(m.square().mean() for m in backbone(torch.empty(2, 3, 64, 96)).values()).backward()
    assert [key for key, parameter in backbone.named_parameters() if parameter.grad is None] == []
    layers = backbone.group_parameters()
    assert len(layers) >= 5
    assert sum(len(layer) for layer in layers) == len(list(backbone.parameters()))
    first = backbone.get_parameter(f"{backbone.first_conv}.weight")
    assert any(p is first for p in layers[0])


def test_layers_are_those_of_timm() -> None:
    with torch.device("meta"):
        backbone = create_backbone("timm/convnextv2_atto")
    net = timm.create_model("convnextv2_atto", num_classes=0)
    expected = timm.models.group_parameters(net, net.group_matcher())
    found = [
        {key for key, p in backbone.named_parameters() if any(p is q for q in g)} for g in backbone.group_parameters()
    ]
    kept = {key for key, _ in backbone.named_parameters()}
    assert found == [names for group in expected.values() if (names := {f"net.{key}" for key in group} & kept)]


def test_position_tables_do_not_decay() -> None:
    with torch.device("meta"):
        exempt = create_backbone("timm/coatnet_nano_rw_224").no_weight_decay()
    assert len(exempt) == 9
    assert all(key.endswith("relative_position_bias_table") for key in exempt)


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("mobilevit_xxs", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        ("tf_efficientnet_lite0", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ("resnet18", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ],
)
def test_mean_and_deviation_are_its_own(name: str, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    with torch.device("meta"):
        rgb, gray = create_backbone(f"timm/{name}"), create_backbone(f"timm/{name}", in_channels=1)
    assert (rgb.mean, rgb.std) == (mean, std)
    assert gray.mean == pytest.approx((sum(mean) / 3,))
    assert gray.get_parameter(f"{gray.first_conv}.weight").shape[1] == 1


def test_its_own_settings_are_passed_on() -> None:
    """Another stacking of CoAtNet's paper: attention in the last stage alone."""
    with torch.device("meta"):
        usual = create_backbone("timm/coatnet_nano_rw_224")
        other = create_backbone("timm/coatnet_nano_rw_224", block_type=["C", "C", "C", "T"], depths=[1, 1, 1, 2])
    assert (len(usual.no_weight_decay()), len(other.no_weight_decay())) == (9, 2)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("vit_tiny_patch16_224", {}, "its maps are of stride 16, a detector needs strides 8, 16 and 32"),
        ("levit_128", {}, "strides 16, 32, 64"),
        ("inception_v3", {}, "its map 'Conv2d_4a_3x3' of a 96 x 160 image"),
        ("mobilevit_xss", {}, r"no such model \(did you mean 'mobilevit_xs'\?\)"),
        ("mobilevit_xxs.mine", {}, r"no such weights; there are mobilevit_xxs\.cvnets_in1k"),
        ("resnet18", {"in_chans": 3}, "'in_chans' is no setting"),
        ("resnet18", {"widht": 3}, "cannot be built with widht: 3: .*widht"),
        ("coatnet_nano_rw_224", {"depths": [1, 1]}, "cannot be built"),
        ("coatnet_nano_rw_224", {"block_type": ["C", "C", "X", "T"]}, r"with block_type: .*: AssertionError"),
        (
            "coatnet_nano_rw_224",
            {"depths": [1] * 4, "embed_dim": [16, 32, 48, 64]},
            r"cannot be computed with .*64\]: shape",
        ),
        ("efficientformer_l1", {}, "takes images of one size alone"),
        ("botnet26t_256", {}, r"one size alone \(at 96 x 160 px timm says: \w+\)"),
        ("csatv2", {}, "timm does not say which of its convolutions takes the image"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        create_backbone(f"timm/{name}", **arguments)
    assert "\n" not in str(error.value)


def test_without_timm_its_names_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "find_spec", lambda name: None)
    assert list_timm() == []
    with pytest.raises(UserError, match=r"timm is not installed: pip install 'moat_det\[timm\]'"):
        create_backbone("timm/resnet18")
