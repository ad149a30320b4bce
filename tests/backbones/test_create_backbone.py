"""What `create_backbone` builds, and what it refuses."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import moat_det
from moat_det.backbones import VARIANTS, create_backbone, list_backbones
from moat_det.errors import UserError

OFFICIAL_PARAMETERS = {  # with a head of 1000 classes: with, without position embedding
    "moat0": (27_846_892, 27_777_544),
    "moat1": (41_598_448, 41_467_864),
    "moat2": (73_422_408, 73_248_296),
    "moat3": (189_958_040, 189_536_280),
    "moat4": (483_214_184, 482_539_368),
    "tiny_moat0": (3_355_348, 3_332_232),
    "tiny_moat1": (5_122_895, 5_094_000),
    "tiny_moat2": (9_772_741, 9_732_288),
    "tiny_moat3": (19_534_390, 19_476_600),
}


def test_every_variant_is_listed() -> None:
    assert moat_det.list_backbones() == list_backbones() == list(OFFICIAL_PARAMETERS)


@pytest.mark.parametrize("name", OFFICIAL_PARAMETERS)
@pytest.mark.parametrize("position_embedding", [True, False])
def test_parameter_count(name: str, position_embedding: bool) -> None:
    with torch.device("meta"):
        backbone = create_backbone(name, num_classes=1000, position_embedding=position_embedding)
    count = sum(p.numel() for p in backbone.parameters())
    assert count == OFFICIAL_PARAMETERS[name][not position_embedding]


@pytest.mark.parametrize("name", OFFICIAL_PARAMETERS)
def test_channels_and_strides_are_those_of_the_maps(name: str) -> None:
    with torch.device("meta"):
        backbone = create_backbone(name).eval()
        maps = backbone(torch.empty(1, 3, 64, 96))
    assert {stage: m.shape[1] for stage, m in maps.items()} == backbone.channels
    assert {stage: (64 // m.shape[2], 96 // m.shape[3]) for stage, m in maps.items()} == {
        stage: (s, s) for stage, s in backbone.strides.items()
    }


def test_input_normalisation_follows_the_pretraining() -> None:
    with torch.device("meta"):
        tiny, large, gray = (
            create_backbone("tiny_moat0"),
            create_backbone("moat2"),
            create_backbone("tiny_moat0", in_channels=1),
        )
    assert [255 * m for m in tiny.mean] == pytest.approx([123.675, 116.28, 103.53])
    assert [255 * s for s in tiny.std] == pytest.approx([58.395, 57.12, 57.375])
    assert large.mean == large.std == (0.5, 0.5, 0.5)
    assert gray.mean == (pytest.approx(sum(tiny.mean) / 3),)


@pytest.mark.parametrize("in_channels", [1, 5])
def test_other_bands(in_channels: int) -> None:
    backbone = create_backbone("tiny_moat0", in_channels=in_channels).eval()
    assert len(backbone.mean) == len(backbone.std) == in_channels
    assert backbone(torch.zeros(1, in_channels, 64, 64))["stage5"].shape == (1, 256, 2, 2)


def test_pooling_is_2_for_classification_else_3() -> None:
    with torch.device("meta"):
        pools = [
            create_backbone("tiny_moat0", num_classes=n, pool_size=p).stages[0][0].pool_size
            for n, p in ((None, None), (10, None), (None, 2), (10, 3))
        ]
    assert pools == [3, 2, 2, 3]


def test_initialisation_is_the_official_one() -> None:
    torch.manual_seed(0)
    for name, parameter in create_backbone("tiny_moat0", num_classes=10).named_parameters():
        if parameter.ndim > 1:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.2), name
        else:
            assert (parameter == (0 if name.endswith("bias") else 1)).all(), name


@pytest.mark.parametrize("name", VARIANTS)
def test_drop_path_grows_to_the_variants_rate(name: str) -> None:
    with torch.device("meta"):
        backbone = create_backbone(name)
    rates = [block.drop_path.rate for stage in backbone.stages for block in stage]
    assert rates == pytest.approx([(1 - VARIANTS[name].survival) * i / len(rates) for i in range(len(rates))])


def test_drop_path_can_be_set() -> None:
    with torch.device("meta"):
        off, high = create_backbone("tiny_moat3", drop_path=0.0), create_backbone("tiny_moat0", drop_path=0.7)
    assert {block.drop_path.rate for stage in off.stages for block in stage} == {0}
    assert high.stages[3][1].drop_path.rate == pytest.approx(0.7 * 13 / 14)


@pytest.mark.parametrize(
    ("window", "end", "expected"),
    [
        ("full", False, ([None] * 7, [None] * 2)),
        (8, False, ([(8, 8)] * 7, [(8, 8)] * 2)),
        ([6, 9], False, ([(6, 9)] * 7, [(6, 9)] * 2)),
        ([None, None, (14, 14), [7, 8]], True, ([(14, 14)] * 6 + [None], [(7, 8), None])),
        ([None, None, 14, None], False, ([(14, 14)] * 7, [None] * 2)),
    ],
)
def test_windows_of_the_blocks(window: object, end: bool, expected: tuple[list[object], list[object]]) -> None:
    with torch.device("meta"):
        backbone = create_backbone("tiny_moat0", window=window, global_attention_at_end_of_stage=end)
    assert tuple([block.attention.window for block in stage] for stage in backbone.stages[2:]) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "tiny_moat9"}, r"no backbone 'tiny_moat9'; did you mean 'tiny_moat\d'\? .*moat0, moat1"),
        ({"name": "moat_2"}, "did you mean 'moat2'"),
        ({"name": "resnet"}, "moat4, tiny_moat0"),
        ({"window": "trained"}, "window 'trained'.* not known"),
        ({"window": 0}, "window 0: give"),
        ({"window": True}, "window True"),
        ({"window": None}, "full"),
        ({"window": 7.0}, "window 7.0"),
        ({"window": (7, -1)}, "positive"),
        ({"window": (7, 7, 7)}, "four stages"),
        ({"window": [7, None, 14, 7]}, "no attention"),
        ({"window": [None, None, "14", 7]}, "window"),
        ({"pool_size": 4}, "pool_size 4"),
        ({"drop_path": 1.0}, "drop_path 1.0"),
        ({"drop_path": -0.1}, "drop_path -0.1"),
        ({"num_classes": 0}, "num_classes 0"),
        ({"in_channels": 0}, "in_channels 0"),
    ],
)
def test_refusals_are_one_line(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        create_backbone(**{"name": "tiny_moat0", **arguments})
    assert "\n" not in str(error.value)


def test_import_is_cheap() -> None:
    code = (
        "import sys, moat_det; heavy = {'torch', 'ultralytics', 'cv2'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "moat_det.create_backbone('tiny_moat0')\n"
        "assert heavy & set(sys.modules) == {'torch'}, heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_name_of_the_package() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        moat_det.nonsense  # noqa: B018


def test_without_timm_a_line_says_how_it_comes() -> None:
    hidden = "import sys; from importlib.machinery import PathFinder; find = PathFinder.find_spec\n"
    hidden += "PathFinder.find_spec = lambda name, *rest: None if name == 'timm' else find(name, *rest)\n"
    script = f"{hidden}from moat_det import create_backbone; create_backbone('timm/mobilevit_xxs')"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.stderr.splitlines()[-1] == (
        "moat_det.errors.UserError: timm/mobilevit_xxs: timm is not installed: pip install 'moat_det[timm]'"
    )
