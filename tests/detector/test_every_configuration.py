"""Every configuration of ours: built, run at two shapes, trained, folded, written and read again."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
import yaml

from moat_det.detector.build import build_model, find_config, with_window
from moat_det.detector.config import config_names
from moat_det.detector.memory import OVERHEAD, predict_memory
from moat_det.engine.checkpoint import Checkpoint, load_checkpoint
from moat_det.engine.optimizer import build_optimizer
from moat_det.errors import UserError

SHAPES = ((64, 128), (192, 64))
LARGE = 12_000_000  # parameters from which on shapes alone are computed here


@pytest.mark.parametrize("name", config_names())
def test_it_runs_trains_folds_and_comes_back_from_a_file(name: str, tmp_path: Path) -> None:
    config = find_config(name)
    torch.manual_seed(0)
    with torch.device("meta"):
        model = build_model(config, nc=2)
    large = sum(parameter.numel() for parameter in model.parameters()) > LARGE
    model = model if large else build_model(config, nc=2)
    images = [torch.rand(2, 3, *shape, device="meta" if large else "cpu") for shape in SHAPES]
    model.train()
    for image in images:
        levels = model.neck(model.backbone(image))
        assert [level.shape[2:] for level in levels] == [
            (image.shape[2] // int(stride), image.shape[3] // int(stride)) for stride in model.stride
        ]
        used = levels
        if not large:  # the head takes no tensors without content
            outputs = model(image)
            used = [outputs["boxes"], outputs["scores"]]
        sum(tensor.square().mean() for tensor in used).backward()
    trained = [model.backbone, model.neck] if large else [model]
    assert [key for part in trained for key, p in part.named_parameters() if p.requires_grad and p.grad is None] == []
    groups = build_optimizer(model, "AdamW", 1e-3, 0.9, 0.1, layer_decay=0.9).param_groups
    assert sum(len(group["params"]) for group in groups) == sum(p.requires_grad for p in model.parameters())
    if large:
        return
    model.eval()
    folded = deepcopy(model).fuse(verbose=False)
    Checkpoint(config, dict(model.names), model.state_dict(), {}, {}).save(tmp_path / "model.pt")
    again = load_checkpoint(tmp_path / "model.pt").build()
    with torch.no_grad():
        for image in images:
            expected = model(image)[0]
            assert torch.equal(again(image)[0], expected)
            assert torch.allclose(folded(image)[0], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", [name for name in config_names() if not name.startswith(("moat", "tiny_moat"))])
def test_the_widths_of_a_neck_follow_the_rule(name: str, tmp_path: Path) -> None:
    """So `--backbone timm/NAME` is the same detector as the configuration, and so is a YAML that leaves them out."""
    config = find_config(name)
    assert find_config(config["backbone"]["name"])["neck"]["channels"] == config["neck"]["channels"]
    del config["neck"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    assert find_config(tmp_path / "mine.yaml")["neck"]["channels"] == find_config(name)["neck"]["channels"]


@pytest.mark.parametrize("name", ["tiny_moat1", "tiny_moat2", "tiny_moat2-p2", "tiny_moat2-p6", "tiny_moat3"])
def test_the_rule_is_that_of_the_small_moats(name: str, tmp_path: Path) -> None:
    levels = find_config(name)["neck"].get("levels", [3, 4, 5])
    (tmp_path / "mine.yaml").write_text(f"backbone: {name.partition('-')[0]}\nneck: {{levels: {levels}}}")
    assert find_config(tmp_path / "mine.yaml")["neck"]["channels"] == find_config(name)["neck"]["channels"]


def test_levels_beside_those_of_the_backbone_follow_it_too(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("backbone: timm/mobilevit_xxs\nneck: {levels: [2, 3, 4, 5, 6]}")
    config = find_config(tmp_path / "mine.yaml")
    assert config["neck"]["channels"] == [32, 64, 96, 320, 320]
    with torch.device("meta"):
        assert build_model(config, nc=2).stride.tolist() == [4, 8, 16, 32, 64]


def test_the_settings_of_timm_in_a_yaml_come_back_from_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "backbone: {name: timm/test_coatnet, block_type: [C, C, C, T], drop_path_rate: 0.1}\nhead: {reach: 64}"
    )
    config = find_config(tmp_path / "mine.yaml")
    model = build_model(config, nc=2)
    Checkpoint(config, dict(model.names), model.state_dict(), {}, {}).save(tmp_path / "model.pt")
    again = load_checkpoint(tmp_path / "model.pt")
    assert again.config == config
    assert again.build().state_dict().keys() == model.state_dict().keys()


def test_a_setting_that_timm_does_not_know_is_named_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("backbone: {name: timm/test_coatnet, dephts: [1, 1, 1, 1]}")
    with pytest.raises(UserError, match=r"mine\.yaml: backbone: timm/test_coatnet cannot be built.*dephts"):
        find_config(path)


def test_windows_cannot_be_chosen_for_timms() -> None:
    with pytest.raises(UserError, match="--window 7: leave it out, timm/test_coatnet has no attention windows"):
        with_window(find_config("timm/test_coatnet"), 7)


def test_the_memory_of_the_positions_is_predicted() -> None:
    """The bias of a map of N cells takes N x N numbers a head, which is most of it for a long image."""
    model = build_model(find_config("timm/test_coatnet"), 2).eval()
    cells, heads = (64 // 16) * (2048 // 16), model.backbone.channels["stages.2"] // 32
    assert predict_memory(model, (1, 3, 64, 2048)) - OVERHEAD > 4 * heads * cells**2
