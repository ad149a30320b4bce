"""What a validation writes and says for an inspector."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from moat_det import MOAT
from moat_det.engine.validator import Validator
from moat_det.errors import UserError
from moat_det.evaluation.inspection.inspection import inspect


def test_val_writes_and_says_the_figures_of_parts(
    trained: Path, demo: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = MOAT(trained / "weights" / "best.pt")
    with caplog.at_level(logging.INFO, "moat_det"):
        model.val(data=str(demo), imgsz=64, batch=8, group=r"(\d)\.", report=True, project=str(tmp_path))
    folder = tmp_path / "val"
    truth, found = (json.loads((folder / f"{name}.json").read_text()) for name in ("ground_truth", "predictions"))
    written = json.loads((folder / "inspection.json").read_text())
    assert written == json.loads(json.dumps(inspect(truth, found, group=r"(\d)\.").to_json_dict()))
    assert written["parts"] < written["images"] == 12
    assert (folder / "FROC_curve.png").is_file()
    assert (folder / "errors.json").is_file()
    page = (folder / "report.html").read_text()
    assert "the folder lacks" not in page
    assert page.count("data:image/jpeg") > 0
    assert any(f"{written['parts']} groups of images as parts" in message for message in caplog.messages)
    with caplog.at_level(logging.INFO, "moat_det"):
        model.val(data=str(demo), imgsz=64, batch=8, plots=False, project=str(tmp_path), exist_ok=True)
    assert not {"errors.json", "report.html"} & {file.name for file in folder.iterdir()}
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "report.html").write_text("mine")  # no validation is in this folder
    model.val(data=str(demo), imgsz=64, batch=8, plots=False, project=str(tmp_path), name="own", exist_ok=True)
    assert (tmp_path / "own" / "report.html").read_text() == "mine"
    assert any("report.html, errors.json of the earlier validation removed" in message for message in caplog.messages)


def test_without_report_no_errors_are_sorted(trained: Path, demo: Path, tmp_path: Path) -> None:
    model = MOAT(trained / "weights" / "best.pt")
    model.val(data=str(demo), imgsz=64, batch=8, plots=False, project=str(tmp_path))
    folder = tmp_path / "val"
    assert (folder / "inspection.json").is_file()
    assert not (folder / "errors.json").exists()
    assert not (folder / "report.html").exists()
    assert not list(folder.glob("*.png"))


def test_a_group_that_fits_no_image_is_refused_before_anything_is_detected(
    trained: Path, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Validator, "_suppress", lambda *_: pytest.fail("it detects"))
    model = MOAT(trained / "weights" / "best.pt")
    with pytest.raises(UserError, match=r"--group \^board: does not match"):
        model.val(data=str(demo), imgsz=64, batch=8, group="^board", project=str(tmp_path))
