"""Every configuration of ours gives in a traced file what it gives here; tests/detector has what else they must do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from moat_det.detector.build import build_model, find_config
from moat_det.detector.config import config_names
from moat_det.export.formats import torchscript
from moat_det.export.graph import Predictions

LARGE = ("moat1", "moat2", "moat3", "moat4")
"""More of moat0's parts, which take gigabytes."""


@pytest.mark.parametrize("name", [name for name in config_names() if name not in LARGE])
def test_its_file_gives_the_same(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_model(find_config(name), nc=2).eval()
    for tower in (*model.head.cv2, *model.head.cv3):  # type: ignore[union-attr]
        torch.nn.init.normal_(tower[-1].weight, std=0.1)  # scores of a new head are all alike
    images = torch.randint(0, 256, (1, 3, 64, 128), dtype=torch.uint8)
    with torch.no_grad():
        expected = model(images)[0]
        torchscript.write(Predictions(model, dynamic=False), images, tmp_path / "best.torchscript")
        found = torch.jit.load(str(tmp_path / "best.torchscript"))(images)
    assert expected[:, 4:].std() > 1e-4
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
