from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from moat_det import MOAT
from moat_det.errors import UserError


def test_prediction_folds_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = MOAT("tiny_moat0")
    before = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    model.predict(np.zeros((64, 64, 3), np.uint8), imgsz=64, verbose=False)
    assert model.predictor.model.backend.model.is_fused()
    after = model.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    model.save("saved.pt")
    assert not MOAT("saved.pt").model.is_fused()


def test_a_folded_model_is_not_saved(tmp_path: Path) -> None:
    model = MOAT("tiny_moat0")
    model.fuse(verbose=False)
    with pytest.raises(UserError, match="folded"):
        model.save(tmp_path / "saved.pt")
    assert not (tmp_path / "saved.pt").exists()
