"""Weights from files into backbones of timm's: names of several projects, order, heads, what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from moat_det.backbones import create_backbone
from moat_det.backbones.timm.renames import FAMILIES, rename
from moat_det.backbones.weights import LoadReport, load_pretrained
from moat_det.backbones.weights.checksum import record
from moat_det.detector.build import build_model, find_config
from moat_det.engine.checkpoint import Checkpoint
from moat_det.errors import UserError

SMALL = "test_efficientnet"  # of timm, for tests: 0.3 M parameters


def shaken(net: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
    return net.eval()


def whole(name: str = SMALL) -> dict[str, torch.Tensor]:
    return shaken(timm.create_model(name)).state_dict()


def load(path: Path, name: str = SMALL, **arguments: Any) -> tuple[dict[str, torch.Tensor], LoadReport]:
    by_order = arguments.pop("by_order", False)
    backbone = create_backbone(f"timm/{name}", **arguments)
    report = load_pretrained(backbone, path, by_order=by_order)
    return backbone.state_dict(), report


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_timms_own_names_and_the_head_is_dropped_and_said(suffix: str, tmp_path: Path) -> None:
    weights, path = whole(), tmp_path / f"w{suffix}"
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    found, report = load(path)
    assert all(torch.equal(found[key], weights[key.removeprefix("net.")]) for key in found)
    assert "dropped what lies behind the last map: bn2, classifier, conv_head" in report.lines()[1]
    assert report.random == ()


@pytest.mark.parametrize("wrapped", ["state_dict", "model", "module.", "backbone.", "module.model."])
def test_wrappers_are_taken_off(wrapped: str, tmp_path: Path) -> None:
    weights = whole()
    kept = {f"{wrapped}{k}": v for k, v in weights.items()} if wrapped.endswith(".") else {wrapped: weights, "epoch": 3}
    torch.save(kept, tmp_path / "w.pth")
    found, _ = load(tmp_path / "w.pth")
    assert torch.equal(found["net.conv_stem.weight"], weights["conv_stem.weight"])


@torch.no_grad()
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("mobilenet_v2", "mobilenetv2_100"), ("efficientnet_b0", "efficientnet_b0"), ("resnet18", "resnet18")],
)
def test_torchvisions_weights_compute_what_they_do_there(theirs: str, ours: str, tmp_path: Path) -> None:
    net = shaken(getattr(torchvision.models, theirs)(weights=None))
    torch.save(net.state_dict(), tmp_path / "w.pth")
    backbone = create_backbone(f"timm/{ours}").eval()
    report = load_pretrained(backbone, tmp_path / "w.pth")
    image = torch.randn(1, 3, 64, 64)
    if theirs == "resnet18":
        expected = nn.Sequential(*list(net.children())[:-2])(image)
    else:
        expected = net.features[:-1](image)
        assert "names of torchvision's" in report.lines()[1]
    assert torch.allclose(list(backbone(image).values())[-1], expected, atol=1e-4 * expected.abs().max())
    assert "not known" not in report.lines()[1]


def of_lukemelas(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Name the weights of timm's EfficientNet as efficientnet_pytorch does."""
    family, blocks, named = FAMILIES[0], {}, {}
    for key, value in weights.items():
        path, _, leaf = key.rpartition(".")
        if not path.startswith("blocks."):
            named[f"{({new: old for old, new in family.outside.items()})[path]}.{leaf}"] = value
            continue
        _, stage, block, *rest = path.split(".")
        number = blocks.setdefault((stage, block), len(blocks))
        inner = family.inverted if f"blocks.{stage}.{block}.conv_pwl.weight" in weights else family.separable
        named[f"_blocks.{number}.{({new: old for old, new in inner.items()})['.'.join(rest)]}.{leaf}"] = value
    return named


def test_efficientnet_pytorchs_names_and_its_padding(tmp_path: Path) -> None:
    weights = whole("tf_efficientnet_lite0")
    named = of_lukemelas(weights)
    assert rename(FAMILIES[0], named, weights) == dict(zip(named, weights, strict=True))
    torch.save(named, tmp_path / "w.pth")
    found, report = load(tmp_path / "w.pth", "tf_efficientnet_lite0")
    assert all(torch.equal(found[key], weights[key.removeprefix("net.")]) for key in found)
    assert "names of efficientnet_pytorch" in report.lines()[1]
    with pytest.raises(UserError, match=r"TensorFlow's padding.*take --backbone timm/tf_efficientnet_lite0"):
        load(tmp_path / "w.pth", "efficientnet_lite0")


def test_timm_translates_the_names_of_authors(tmp_path: Path) -> None:
    """ConvNeXt V2 as its authors published it: another stem, blocks and norms."""
    weights = {k: torch.randn_like(v) for k, v in timm.create_model("test_convnext2").state_dict().items()}
    theirs = {}
    for key, value in weights.items():
        new = key.replace("stem.", "downsample_layers.0.").replace(".conv_dw", ".dwconv").replace("head.norm", "norm")
        new = new.replace("mlp.fc1", "pwconv1").replace("mlp.fc2", "pwconv2").replace("mlp.grn.weight", "grn.gamma")
        new = new.replace("mlp.grn.bias", "grn.beta").replace("head.fc", "head")
        for stage in range(1, 4):
            new = new.replace(f"stages.{stage}.downsample.", f"downsample_layers.{stage}.")
        theirs[new.replace(".blocks.", ".")] = value
    torch.save({"model": theirs}, tmp_path / "w.pth")
    found, report = load(tmp_path / "w.pth", "test_convnext2")
    assert all(torch.equal(found[key], weights[key.removeprefix("net.")]) for key in found)
    assert "names translated by timm" in report.lines()[1]


def test_by_order_where_it_is_asked_for_alone(tmp_path: Path) -> None:
    weights = whole()
    body = {key: value for key, value in weights.items() if not key.startswith("classifier")}
    torch.save({f"layer{n}.x": value for n, value in enumerate(body.values())}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"lacks \d+: conv_stem.weight.* has \d+ unknown: layer0.x.*--weights-by-order"):
        load(tmp_path / "w.pth")
    counters = {f"layer{n}.x" for n, key in enumerate(body) if key.endswith("num_batches_tracked")}
    named = torch.load(tmp_path / "w.pth")
    torch.save({k: v for k, v in named.items() if k not in counters}, tmp_path / "w.pth")
    found, report = load(tmp_path / "w.pth", by_order=True)
    assert all(torch.equal(found[k], weights[k.removeprefix("net.")]) for k in found if "num_batches" not in k)
    assert "matched by order, names not looked at: layer0.x is conv_stem.weight" in report.lines()[1]
    torch.save(dict(reversed(named.items())), tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"does not fit by order: tensor 1, "):
        load(tmp_path / "w.pth", by_order=True)
    with pytest.raises(UserError, match="--weights-by-order: is for backbones of timm's"):
        load_pretrained(create_backbone("tiny_moat0"), tmp_path / "w.pth", by_order=True)


def test_a_file_that_keeps_no_order_is_not_matched_by_order(tmp_path: Path) -> None:
    save_file(whole(), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"w.safetensors has its tensors in the order of their names"):
        load(tmp_path / "w.safetensors", by_order=True)


@torch.no_grad()
@pytest.mark.parametrize("bands", [1, 5])
def test_the_first_kernel_follows_the_bands(bands: int, tmp_path: Path) -> None:
    weights = whole()
    torch.save(weights, tmp_path / "w.pth")
    found, report = load(tmp_path / "w.pth", in_channels=bands)
    kernel, gray = weights["conv_stem.weight"], torch.randn(1, 1, 8, 8)
    same = nn.functional.conv2d(gray.repeat(1, 3, 1, 1), kernel)
    assert torch.allclose(
        nn.functional.conv2d(gray.repeat(1, bands, 1, 1), found["net.conv_stem.weight"]), same, atol=1e-5
    )
    assert f"averaged for {bands} band(s)" in report.lines()[1]


def test_what_does_not_fit_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    weights = whole()
    torch.save({**weights, "bn1.weight": torch.ones(7), "extra": torch.ones(1)}, tmp_path / "w.pth")
    backbone = create_backbone(f"timm/{SMALL}")
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    with pytest.raises(UserError, match=r"other shapes in 1: bn1.weight is \(7,\) and not"):
        load_pretrained(backbone, tmp_path / "w.pth")
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    torch.save({**weights, "extra": torch.ones(1)}, tmp_path / "w.pth")
    assert "not known to timm, dropped: extra" in load(tmp_path / "w.pth")[1].lines()[1]
    with pytest.raises(UserError, match=f"no weights at {tmp_path}/none.pth"):
        load(tmp_path / "none.pth")


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    weights = whole()
    weights["conv_stem.weight"][0, 0, 0, 0] = float("nan")
    torch.save(weights, tmp_path / "w.pth")
    for by_order in (False, True):
        with pytest.raises(UserError, match=r"w.pth: conv_stem.weight holds NaN or infinity"):
            load(tmp_path / "w.pth", by_order=by_order)


def test_the_backbone_of_a_detector_of_ours(tmp_path: Path) -> None:
    config = find_config(f"timm/{SMALL}")
    model = build_model(config, 2)
    Checkpoint(config, {0: "a", 1: "b"}, model.state_dict(), {}, {}).save(tmp_path / "best.pt")
    found, _ = load(tmp_path / "best.pt")
    assert torch.equal(found["net.conv_stem.weight"], model.backbone.net.conv_stem.weight)


def test_imagenet_is_looked_for_and_never_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("MOAT_DET_WEIGHTS", "HF_HUB_CACHE", "TORCH_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    backbone = create_backbone("timm/mobilevit_xxs")
    with pytest.raises(UserError, match=r"fetch https://\S+/timm/mobilevit_xxs.cvnets_in1k/\S+ \(licence: cv.*put it"):
        load_pretrained(backbone, "imagenet")
    with pytest.raises(UserError, match="timm has no weights for it"):
        load_pretrained(create_backbone("timm/test_coatnet"), "imagenet")
    folder = tmp_path / "HF_HUB_CACHE/models--timm--mobilevit_xxs.cvnets_in1k/snapshots/abc"
    folder.mkdir(parents=True)
    save_file(whole("mobilevit_xxs"), folder / "model.safetensors")
    assert load_pretrained(backbone, "imagenet").source == folder / "model.safetensors"
    ours = tmp_path / "MOAT_DET_WEIGHTS" / "mobilevit_xxs.cvnets_in1k.safetensors"
    ours.parent.mkdir()
    ours.write_bytes((folder / "model.safetensors").read_bytes())
    record(ours, ours)
    assert load_pretrained(backbone, "imagenet").source == ours
    ours.write_bytes(ours.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="is damaged or another file: its SHA-256"):
        load_pretrained(backbone, "imagenet")
