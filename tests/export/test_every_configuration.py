"""Every configuration that comes with the package does what any is to do, from its first step to its exported file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from moat_det.detector.build import build_model, find_config
from moat_det.engine.checkpoint import Checkpoint, load_checkpoint
from moat_det.export.formats import torchscript
from moat_det.export.graph import Predictions
from moat_det.paths import cfg_dir

LARGE = {"moat1", "moat2", "moat3", "moat4"}
"""Of moat0's parts, and more of them: they take gigabytes. tests/detector/test_levels.py builds them."""

FILES = [path for path in sorted(cfg_dir().glob("*.yaml")) if path.stem not in LARGE]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_learns_folds_is_kept_and_exported(path: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_model(find_config(path), nc=2, names={0: "pit", 1: "scratch"}).train()
    model.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    images = torch.randint(0, 256, (4, 3, 8, 16), dtype=torch.uint8)
    images = images.repeat_interleave(8, 2).repeat_interleave(8, 3)
    batch = {
        "img": images,
        "batch_idx": torch.tensor([0.0, 1.0]),
        "cls": torch.tensor([[0.0], [1.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.9, 0.8], [0.3, 0.6, 0.3, 0.5]]),
    }
    loss, _ = model(batch)
    loss.sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if "dfl" not in name and p.requires_grad}
    assert not [name for name, gradient in gradients.items() if gradient is None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values() if gradient is not None)

    model.zero_grad(set_to_none=True)
    for tower in (*model.head.cv2, *model.head.cv3):  # type: ignore[union-attr]
        torch.nn.init.normal_(tower[-1].weight, std=0.1)  # scores of a new head are all alike
    file = tmp_path / "best.pt"
    Checkpoint(model.yaml, {0: "pit", 1: "scratch"}, model.state_dict(), {"imgsz": [64, 128]}, metrics={}).save(file)
    loaded = load_checkpoint(file).build().eval()
    model.eval()
    with torch.no_grad():
        expected, found = model(images)[0], loaded(images)[0]
        assert expected[:, 4:].std() > 1e-4
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
        exported = Predictions(loaded, dynamic=False)  # folded
        torch.testing.assert_close(exported(images), expected, rtol=1e-3, atol=2e-2)
        torchscript.write(exported, images, tmp_path / "best.torchscript")
        again = torch.jit.load(str(tmp_path / "best.torchscript"))(images)
    torch.testing.assert_close(again, exported(images), rtol=1e-4, atol=5e-3)
