from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest

from moat_det.cli.commands import check_labels
from moat_det.cli.main import run
from moat_det.data.config import load_dataset
from moat_det.data.index import open_index
from moat_det.demo import generate_demo
from moat_det.detection import pictures
from moat_det.evaluation import coco_ground_truth

MODEL = "backbone: {name: tiny_moat0}\nneck: {channels: [16, 16, 16]}\n"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(generate_demo(tmp_path / "set", train=4, val=6, size=(64, 64)))


def validation(data: Path, folder: Path, score: float, lost: int | None = None) -> dict[str, Any]:
    """A validation on val that finds every label but one of another class; and the label that it does not know of."""
    config = load_dataset(data)
    truth = coco_ground_truth(list(open_index(config["val"], config["names"]).images()), config["names"])
    found = [
        {key: label[key] for key in ("image_id", "category_id", "bbox")} | {"score": score}
        for label in truth["annotations"]
    ]
    if lost is not None:
        del truth["annotations"][lost]
    folder.mkdir()
    (folder / "ground_truth.json").write_text(json.dumps(truth))
    (folder / "predictions.json").write_text(json.dumps(found))
    return found[lost or 0]


def test_the_label_that_was_lost_is_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    data = Path(generate_demo(tmp_path / "set", train=1, val=40, size=(64, 64)))
    data.write_text(data.read_text().replace("images/val", "images/va*"))
    lost = validation(data, tmp_path / "val", 0.9, lost=2)
    validation(data, tmp_path / "val2", 0.8, lost=2)
    assert run("check-labels", ["--data", str(data), "--runs", "val", "val2", "--top", "4"]) == 0
    content = json.loads((tmp_path / "runs/check-labels/suspicious_labels.json").read_text())
    first = content["labels"][0]
    assert content["models"] == 2
    assert (first["kind"], first["image_id"], first["bbox"]) == ("missing", lost["image_id"], lost["bbox"])
    picture = cv2.imread(str(tmp_path / "runs/check-labels/suspicious_labels.jpg"))
    assert picture.shape[1] == min(len(content["labels"]), 3) * 530 - 6
    again = ["--data", str(data), "--runs", "val", "val2", "--exist-ok"]
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "_LONGEST_JPEG", 100)
        assert run("check-labels", again) == 0
        assert [file.suffix for file in tmp_path.glob("runs/check-labels/*.*g")] == [".png"]
    with monkeypatch.context() as patch:
        patch.setattr(check_labels, "suspicious_labels", lambda *_: [])
        assert run("check-labels", again) == 0
        assert [file.name for file in (tmp_path / "runs/check-labels").iterdir()] == ["suspicious_labels.json"]
    out = capsys.readouterr().out
    assert "confident detections without a label" in out
    assert str(first["file_name"]) in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--runs", "gone"], "gone: no folder of a validation"),
        (["--runs", "val", "other"], "has other labels of"),
        (["--runs", "val", "--top", "0"], "--top 0: give 1 or more"),
        (["--runs", "val", "--epochs", "3"], "--epochs: with --runs nothing is trained"),
        (["--resume"], "--resume: moat check-labels begins anew"),
    ],
)
def test_a_mistake_ends_in_one_line(data: Path, tmp_path: Path, words: list[str], message: str, capsys: Any) -> None:
    validation(data, tmp_path / "val", 0.9)
    validation(data, tmp_path / "other", 0.9, lost=0)
    assert run("check-labels", ["--data", str(data), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_validation_is_shown_with_the_pictures_of_its_own_split(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """All splits number their images from 1."""
    for split in ("train", "val"):
        for folder in ("images", "labels"):
            for number, file in enumerate(sorted((tmp_path / "set" / folder / split).iterdir())):
                file.rename(file.with_stem(f"{number:04}"))
    shown: list[str] = []
    monkeypatch.setattr(check_labels, "draw_suspicious", lambda labels, paths, *_: shown.extend(paths.values()) or [])
    validation(data, tmp_path / "val", 0.9)
    assert run("check-labels", ["--data", str(data), "--runs", "val"]) == 0
    assert len(shown) == 6
    assert all("/images/val/" in path for path in shown)
    for number in (4, 5):  # now both splits have the same names, and sizes
        for folder in ("images", "labels"):
            file = next((tmp_path / "set" / folder / "val").glob(f"{number:04}.*"))
            file.unlink()
    validation(data, tmp_path / "same", 0.9)
    assert run("check-labels", ["--data", str(data), "--runs", "same"]) == 2
    assert "0000.png: may be" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["check-labels"]
    config = load_dataset(data)
    digest = open_index(config["val"], config["names"]).identity()["digest"]
    (tmp_path / "same/settings.json").write_text(json.dumps({"split": digest}))
    shown.clear()
    assert run("check-labels", ["--data", str(data), "--runs", "same"]) == 0
    assert len(shown) == 4
    assert all("/images/val/" in path for path in shown)


def test_names_of_a_test_split_are_none_of_the_two_models(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They look at train and val; a test split may use a name of these again."""
    for folder in ("images", "labels"):  # bare names tell train and val apart
        for path in (tmp_path / "set" / folder / "train").iterdir():
            path.rename(path.with_stem(f"t{path.stem}"))
    file = next((tmp_path / "set/images/train").iterdir())
    (tmp_path / "set/images/test").mkdir()
    shutil.copy(file, tmp_path / "set/images/test")
    data.write_text(data.read_text() + "test: images/test\n")
    shown: list[str] = []
    monkeypatch.setattr(check_labels, "draw_suspicious", lambda labels, paths, *_: shown.extend(paths.values()) or [])

    def halves(model: str, config: Any, images: list[Any], folder: Path, *_: Any) -> list[Path]:
        truth = coco_ground_truth(images, config["names"])
        (folder / "half").mkdir()
        (folder / "half/ground_truth.json").write_text(json.dumps(truth))
        (folder / "half/predictions.json").write_text("[]")
        return [folder / "half"]

    monkeypatch.setattr(check_labels, "train_folds", halves)
    assert run("check-labels", ["--data", str(data)]) == 0
    assert len(shown) == 10
    assert str(file) in shown


def test_two_models_are_trained_on_a_half_each(data: Path, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(MODEL)
    words = ["--model", "small.yaml", "--imgsz", "32", "--epochs", "1", "--batch", "8", "--workers", "0"]
    words += ["--device", "cpu", "--plots", "false", "--exist-ok"]
    folder = tmp_path / "runs/check-labels"
    former = folder / "half0-val/ground_truth.json"  # of an earlier run, before the labels were mended
    former.parent.mkdir(parents=True)
    former.write_text("{}")
    assert run("check-labels", ["--data", str(data), *words]) == 0
    assert former.read_text() == "{}"
    halves = [json.loads((folder / f"half{k}.json").read_text())["images"] for k in (0, 1)]
    names = [{image["file_name"] for image in half} for half in halves]
    assert [len(half) for half in names] == [5, 5]
    assert not names[0] & names[1]
    for name in ("half0-val-2", "half1-val"):
        assert len(json.loads((folder / name / "ground_truth.json").read_text())["images"]) == 10
    assert json.loads((folder / "suspicious_labels.json").read_text())["models"] == 2
