"""Runs of one name that begin together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from moat_det.engine import MOAT, run_folder, trainer, validator
from moat_det.files import claim_folder


@pytest.mark.parametrize("command", ["train", "val"])
def test_two_that_begin_together_have_a_folder_each(
    command: str, trained: Path, demo: Path, model_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are at the moment of the choice at once."""
    together = Barrier(2)

    def claim_together(args: Any) -> Path:
        together.wait(60)
        return run_folder.claim_run(args)

    monkeypatch.setattr(trainer, "claim_run", claim_together)
    monkeypatch.setattr(validator, "claim_run", claim_together)
    options = {"data": str(demo), "project": str(tmp_path), "name": "r", "imgsz": 64, "workers": 0, "plots": False}

    def begin(model: MOAT) -> None:
        if command == "train":
            model.make_trainer(**options, epochs=1)
        else:
            model.val(**options)

    models = [MOAT(model_yaml if command == "train" else trained / "weights" / "best.pt") for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(begin, models))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r", "r-2"]
    file = "args.yaml" if command == "train" else "metrics.json"
    assert all((folder / file).is_file() for folder in tmp_path.iterdir())


def test_a_file_of_that_name_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("mine")
    assert claim_folder(tmp_path / "r").name == "r-2"
    with pytest.raises(FileExistsError):
        claim_folder(tmp_path / "r", exist_ok=True)
    assert (tmp_path / "r").read_text() == "mine"
