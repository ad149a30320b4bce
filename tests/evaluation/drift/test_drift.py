from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from moat_det.cli.main import run
from moat_det.errors import UserError
from moat_det.evaluation.drift import APPEARANCE, appearance, drift, drift_table, read_sample
from moat_det.evaluation.inspection.rule import Rule


def sample(rng: np.random.Generator, parts: int, shift: float = 0.0) -> dict[str, np.ndarray]:
    """Scores of which a half is 0, few defects, and a brightness that may have shifted, in its own deviations."""
    scores = np.where(rng.random(parts) < 0.5, 0, rng.random(parts))
    return {
        "score": scores,
        "defects": (scores > 0.5).astype(float),
        "brightness": rng.normal(120 + 10 * shift, 10, parts),
        "sharpness": rng.lognormal(5, 0.3, parts),
    }


def test_where_nothing_has_changed_few_alarms_come() -> None:
    rng = np.random.default_rng(0)
    alarms = sum(
        drift(sample(rng, 100), sample(rng, 60), least_change=0)["changed"] for _ in range(300)
    )  # 15 expected at most
    assert alarms <= 25


def test_a_change_is_found_and_named() -> None:
    rng = np.random.default_rng(0)
    content = drift(sample(rng, 2000), sample(rng, 1000, shift=-1.5))
    assert content["changed"]
    assert [name for name, found in content["measures"].items() if found["changed"]] == ["brightness"]
    found = content["measures"]["brightness"]
    assert found["distance"] == pytest.approx(0.547, abs=0.06)  # of two normals, 1.5 deviations apart
    assert found["larger"] == pytest.approx(0.144, abs=0.03)
    assert found["new"] < found["reference"]
    lines = [line for line in drift_table(content).splitlines() if "changed" in line]
    assert [line.split()[0] for line in lines] == ["brightness"]


def test_a_hundred_thousand_parts_do_not_alarm_by_triviality() -> None:
    rng = np.random.default_rng(0)
    content = drift(sample(rng, 100_000), sample(rng, 100_000, shift=0.1))
    found = content["measures"]["brightness"]
    assert found["p"] < 1e-20
    assert found["distance"] < 0.1
    assert not content["changed"]
    assert drift(sample(rng, 100_000), sample(rng, 100_000, shift=0.1), least_change=0.02)["changed"]


def test_the_probability_of_a_larger_value_counts_ties_half() -> None:
    zeros = {"score": np.zeros(4), "defects": np.zeros(4)}
    content = drift(zeros, zeros)
    assert set(content["measures"]) == {"score", "defects"}
    assert content["measures"]["score"]["larger"] == 0.5
    assert "so few parts show only changes of" in drift_table(content)


def test_brightness_and_sharpness_of_pictures() -> None:
    rng = np.random.default_rng(0)
    picture = np.repeat(rng.integers(0, 100, (64, 80, 1)), 3, axis=2).astype(np.uint8)
    bright, sharp = appearance(picture)
    assert bright == pytest.approx(picture.mean(), abs=1e-3)
    assert appearance(picture[..., :1]) == appearance(np.repeat(picture[..., :1], 5, axis=2)) == (bright, sharp)
    assert sharp == pytest.approx(cv2.Laplacian(picture[..., 0], cv2.CV_64F).var(), rel=1e-6)
    green = np.array([[[0, 200, 0]]], np.uint8)
    assert appearance(green)[0] == pytest.approx(0.587 * 200, abs=1)  # as bright as it looks
    assert appearance(picture + 50)[0] == pytest.approx(bright + 50, abs=1e-3)
    assert appearance(picture + 50)[1] == pytest.approx(sharp, rel=1e-4)
    assert appearance(cv2.GaussianBlur(picture, (0, 0), 2))[1] < sharp / 10
    assert appearance(np.full((1, 1, 1), 7, np.uint8)) == (7.0, 0.0)


def write(folder: Path, rng: np.random.Generator, brightness: float, images: int = 60) -> None:
    folder.mkdir(parents=True)
    ids = list(range(1, images + 1))
    truth: dict[str, Any] = {
        "images": [{"id": k, "file_name": f"board{k // 2}_{k}.png"} for k in ids],
        "annotations": [],
        "categories": [{"id": 1, "name": "pit"}],
    }
    found = [{"image_id": k, "category_id": 1, "bbox": [0, 0, 5, 5], "score": float(rng.random())} for k in ids[::3]]
    seen = {"image_id": ids, "brightness": rng.normal(brightness, 3, images).tolist(), "sharpness": [5.0] * images}
    for name, content in (("ground_truth.json", truth), ("predictions.json", found), (APPEARANCE, seen)):
        (folder / name).write_text(json.dumps(content))


def test_the_command_compares_two_validations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    write(tmp_path / "val", rng, 100)
    write(tmp_path / "same", rng, 100)
    write(tmp_path / "dark", rng, 80)
    assert run("drift", ["val", "--source", "same", "--out", "a"]) == 0
    assert "nothing has changed" in capsys.readouterr().out
    assert run("drift", ["val", "--source", "dark", "--out", "b", "--threshold", "0.5"]) == 5
    assert "changed: brightness" in capsys.readouterr().out
    content = json.loads(Path("b/drift.json").read_text())
    assert content["sources"]["threshold"] == 0.5
    assert Path("b/drift.png").stat().st_size > 1000
    assert run("drift", ["val", "--source", "dark", "--group", r"^(board\d+)_", "--out", "c"]) == 5
    assert json.loads(Path("c/drift.json").read_text())["new_parts"] == 31
    Path("val/inspection.json").write_text(json.dumps({"group": r"^(board\d+)_"}))
    for out, words, parts in (("own", [], 31), ("each", ["--group", ".+"], 60)):
        assert run("drift", ["val", "--source", "dark", "--out", out, *words]) == 5
        assert json.loads(Path(out, "drift.json").read_text())["new_parts"] == parts


def test_parts_of_several_images(tmp_path: Path) -> None:
    write(tmp_path / "val", np.random.default_rng(0), 100, images=4)
    whole = read_sample(tmp_path / "val", Rule(0.0))
    parts = read_sample(tmp_path / "val", Rule(0.0), r"^(board\d+)_")  # images 1, 2 and 3, 4
    assert whole["defects"].tolist() == [1, 0, 0, 1]
    assert parts["defects"].tolist() == [1, 0, 1]
    assert parts["brightness"][1] == pytest.approx(whole["brightness"][1:3].mean())
    (tmp_path / "val" / APPEARANCE).unlink()
    assert set(read_sample(tmp_path / "val", Rule(0.0))) == {"score", "defects"}
    assert not read_sample(tmp_path / "val", Rule(0.0, per_class={"pit": 1.0}))["defects"].any()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone", "--source", "val"], "gone: no folder of a validation"),
        (["val", "--source", "gone"], "--source gone: no such folder or list of images"),
        (["val", "--source", "val", "--threshold", "1.5"], "--threshold 1.5: must be above 0 and at most 1"),
        (["val", "--source", "val", "--level", "1"], "--level 1: must be above 0"),
        (["val", "--source", "val", "--least-change", "2"], "--least-change 2: must be a share"),
    ],
)
def test_a_mistake_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "val", np.random.default_rng(0), 100)
    assert run("drift", [*words, "--out", "out"]) == 2
    assert message in capsys.readouterr().err


def test_a_validation_without_images(tmp_path: Path) -> None:
    write(tmp_path / "val", np.random.default_rng(0), 100, images=0)
    with pytest.raises(UserError, match="a validation without images"):
        read_sample(tmp_path / "val", Rule(0.5))
