from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from moat_det.backbones import list_backbones
from moat_det.detector.build import build_model, find_config
from moat_det.detector.config import load_config, parse_config
from moat_det.detector.detector import Detector
from moat_det.detector.peers import is_peer
from moat_det.detector.precision import compute_dtype
from moat_det.errors import UserError

SMALL = {"backbone": "tiny_moat0", "neck": {"channels": [16, 16, 16]}}


@pytest.fixture
def detector() -> Detector:
    torch.manual_seed(0)
    model = build_model(SMALL, nc=3)
    assert isinstance(model, Detector)
    model.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    return model


def batch(images: Tensor) -> dict[str, Tensor]:
    boxes = torch.tensor([[0.5, 0.5, 0.4, 0.3], [0.3, 0.6, 0.2, 0.2]])
    return {
        "img": images,
        "batch_idx": torch.tensor([0.0, 1.0]),
        "cls": torch.tensor([[0.0], [2.0]]),
        "bboxes": boxes,
    }


@pytest.mark.parametrize("name", list_backbones())
def test_every_variant_has_a_configuration_that_builds(name: str) -> None:
    with torch.device("meta"):
        model = build_model(find_config(name), nc=6)
    parameters = sum(p.numel() for p in model.parameters())
    backbone = sum(p.numel() for p in model.model[1].parameters())
    assert parameters < 2 * backbone, "the neck is out of all proportion"
    if name == "tiny_moat0":
        assert parameters < 7_000_000


@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_predictions_have_a_row_for_each_anchor_point(detector: Detector, size: tuple[int, int]) -> None:
    decoded, raw = detector.eval()(torch.rand(2, 3, *size))
    points = sum(size[0] // s * (size[1] // s) for s in (8, 16, 32))
    assert decoded.shape == (2, 4 + 3, points)
    assert decoded[:, 4:].min() >= 0
    assert decoded[:, 4:].max() <= 1
    assert raw["boxes"].shape == (2, 4 * 16, points)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_loss_and_the_predictions_are_float32(detector: Detector, dtype: torch.dtype) -> None:
    detector.dtype = dtype
    loss, items = detector.train()(batch(torch.rand(2, 3, 64, 64)))
    assert loss.dtype == torch.float32
    assert set(items) == {"box_loss", "cls_loss", "dfl_loss"}
    loss.sum().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in detector.parameters())
    used = {name for name, p in detector.named_parameters() if p.grad is not None}
    unused = {name for name, p in detector.named_parameters() if p.grad is None}
    assert all("dfl" in name for name in unused), unused
    assert any(name.endswith("relative_position_embedding") for name in used)
    assert detector.eval()(torch.rand(1, 3, 64, 64))[0].dtype == torch.float32


def test_bfloat16_finds_nearly_what_float32_finds(detector: Detector) -> None:
    detector.eval()
    images = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        full = detector(images)[0]
        detector.dtype = torch.bfloat16
        reduced = detector(images)[0]
    assert (full[:, :4] - reduced[:, :4]).abs().max() < 2.0
    assert not torch.equal(full, reduced), "autocast did nothing"


def test_the_images_of_a_batch_do_not_meet(detector: Detector) -> None:
    images = torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        straight = detector.eval()(images)[0]
        turned = detector(images.flip(0))[0].flip(0)
    assert torch.allclose(straight, turned, atol=1e-4)


def test_the_input_is_normalised_inside(detector: Detector) -> None:
    gray = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    assert detector.model[0](gray).abs().max() < 1e-6


def test_fused_and_unfused_agree(detector: Detector) -> None:
    images = torch.rand(1, 3, 64, 64)
    detector.train()(batch(torch.rand(2, 3, 64, 64)))  # statistics other than the initial ones
    with torch.no_grad():
        before = detector.eval()(images)[0]
        after = detector.fuse(verbose=False)(images)[0]
    assert torch.allclose(before, after, atol=1e-3)


@pytest.mark.parametrize("size", [64.0, 1024.0])
def test_the_class_prior_follows_the_image(detector: Detector, size: float) -> None:
    detector.head.bias_init(size, objects=5)
    expected = sum(
        level[-1].bias.exp().sum().item() * (size / stride) ** 2
        for level, stride in zip(detector.head.cv3, (8, 16, 32), strict=True)
    )
    assert expected == pytest.approx(5 * 3, rel=1e-4)  # five objects on each of three levels


def test_the_stream_keeps_its_scale_from_stage_to_stage(detector: Detector) -> None:
    stages = detector.model[1].eval()(torch.randn(1, 3, 128, 128))
    spread = [stages[f"stage{i}"].std().item() for i in range(1, 6)]
    assert min(spread) > 0.05 * max(spread), "a strided block loses the stream"


def test_statistics_follow_within_some_hundred_steps(detector: Detector) -> None:
    norms = [m for m in detector.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {m.momentum for m in norms} == {0.03}
    assert {m.eps for m in norms} == {1e-3}


def test_a_model_is_prepared_for_its_device(detector: Detector) -> None:
    detector.prepare(torch.device("cpu"), mixed=False)
    assert detector.dtype == torch.float32
    detector.prepare(torch.device("cpu"))
    assert detector.dtype == compute_dtype(torch.device("cpu"))
    assert next(m for m in detector.modules() if isinstance(m, nn.Conv2d)).weight.is_contiguous(
        memory_format=torch.channels_last
    )
    assert compute_dtype(torch.device("meta")) == torch.float32


def test_a_configuration_survives_the_round_trip() -> None:
    config = parse_config({"backbone": {"name": "tiny_moat1", "window": 7}, "neck": {"channels": [8, 16, 24]}})
    assert parse_config(config.to_dict()) == config
    other = parse_config({**config.to_dict(), "assigner": {"topk": 4, "beta": 2}})
    assert parse_config(other.to_dict()) == other
    assert (other.assigner.topk, other.assigner.alpha, other.assigner.beta) == (4, 0.5, 2.0)


@pytest.mark.parametrize(("name", "value"), [("topk", 0), ("topk", 2.5), ("alpha", -1), ("beta", "six"), ("gamma", 1)])
def test_an_assigner_that_cannot_be_is_refused(name: str, value: object) -> None:
    with pytest.raises(UserError, match=f"mine.yaml: assigner.*{name}"):
        parse_config(
            {"backbone": "tiny_moat0", "neck": {"channels": [8, 16, 24]}, "assigner": {name: value}}, "mine.yaml"
        )


@pytest.mark.parametrize(
    ("backbone", "named"),
    [
        ({"name": "tiny_moat0", "windw": 7}, "window"),
        ({"name": "tiny_moat0", "num_classes": 3}, "num_classes"),
        ({"name": "tiny_moat0", "pretrained": "imagenet"}, "pretrained"),
        ({"name": "tiny_moat0", "drop_path": "much"}, "backbone"),
        ({"name": "tiny_moat0", "window": -3}, "window"),
    ],
)
def test_wrong_arguments_of_the_backbone_are_named(backbone: dict[str, object], named: str) -> None:
    with pytest.raises(UserError, match=named):
        build_model({"backbone": backbone, "neck": {"channels": [16, 16, 16]}}, nc=1, source="mine.yaml")


def test_models_of_the_engine_are_found_by_name() -> None:
    config = find_config("yolo11n.yaml")
    assert is_peer(config)
    assert build_model(config, nc=2).names == {0: "0", 1: "1"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"backbone: tiny_moat0\nneck: {channels: [16, 16, 16], channels: [8, 8, 8]}\n", "channels.* twice"),
        ("backbone: tiny_moat0 # größer\n".encode("latin-1"), "line 1 is not in UTF-8"),
        (b"backbone: [tiny_moat0\n", "mine.yaml, line 2: broken YAML"),
    ],
)
def test_a_model_yaml_with_a_mistake_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(UserError, match=said):
        load_config(tmp_path / "mine.yaml")
