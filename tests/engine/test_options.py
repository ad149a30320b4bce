"""Options whose values once went astray: lists of one, nothing as a number, the home folder, one class for all."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from moat_det.cli import main as cli
from moat_det.detection.classes import check_classes
from moat_det.detector.build import build_model, with_drop_path
from moat_det.engine import MOAT
from moat_det.engine.arguments import settle
from moat_det.engine.checkpoint import load_checkpoint
from moat_det.errors import UserError

FEW: dict[str, Any] = {"imgsz": 64, "conf": 0.0001, "verbose": False}
SMALL = ["--imgsz", "64", "--plots", "false", "--workers", "0", "--debug"]


@pytest.fixture(scope="module")
def weights(trained: Path) -> Path:
    return trained / "weights" / "best.pt"


@pytest.fixture(scope="module")
def images(demo: Path) -> Path:
    return demo.parent / "images" / "val"


@pytest.fixture(scope="module")
def found(weights: Path, images: Path) -> list[tuple[str, int, float]]:
    """What the model finds of all classes: file, class, score."""
    return rows(MOAT(weights).predict(str(images), **FEW))


def rows(results: Any) -> list[tuple[str, int, float]]:
    return [
        (Path(result.path).name, int(label), float(score))
        for result in results
        for label, score in zip(result.boxes.cls, result.boxes.conf, strict=True)
    ]


@pytest.fixture(scope="module")
def one(found: list[tuple[str, int, float]]) -> int:
    """A class that the model finds."""
    return found[0][1]


def test_one_class_of_a_detection(
    weights: Path, images: Path, found: list[tuple[str, int, float]], one: int, tmp_path: Path
) -> None:
    other = 3 - one
    for words, classes in (
        ([str(one)], {one}),
        ([str(one), str(other)], {one, other}),
        ([f"{one},{other}"], {one, other}),
    ):
        options = ["--weights", str(weights), "--source", str(images), "--imgsz", "64", "--conf", "0.0001"]
        options += ["--save", "false", "--save-json", "--project", str(tmp_path), "--exist-ok", "--debug"]
        cli.detect([*options, "--classes", *words])
        written = json.loads((tmp_path / "detect" / "predictions.json").read_text())
        labels = sorted((row["file_name"], row["category_id"] - 1) for row in written)
        assert labels == sorted((file, label) for file, label, _ in found if label in classes)


def test_one_class_in_a_yaml_and_in_python(
    weights: Path, images: Path, found: list[tuple[str, int, float]], one: int, tmp_path: Path
) -> None:
    (tmp_path / "cfg.yaml").write_text(f"classes: {one}\n")
    model, wanted = MOAT(weights), sorted(row[:2] for row in found if row[1] == one)
    for options in ({"classes": one}, {"classes": [one]}, {"cfg": str(tmp_path / "cfg.yaml")}):
        assert sorted(row[:2] for row in rows(model.predict(str(images), **FEW, **options))) == wanted


def test_one_class_of_a_validation(weights: Path, demo: Path, tmp_path: Path) -> None:
    words = ["--weights", str(weights), "--data", str(demo), "--project", str(tmp_path), *SMALL]
    cli.val([*words, "--classes", "1"])
    figures = json.loads((tmp_path / "val" / "metrics.json").read_text())
    assert [name for name, row in figures["per_class"].items() if row["boxes"]] == ["pit"]
    assert {row["category_id"] for row in json.loads((tmp_path / "val" / "predictions.json").read_text())} <= {2}


def test_one_class_of_a_training(demo: Path, model_yaml: Path, tmp_path: Path) -> None:
    words = ["--data", str(demo), "--model", str(model_yaml), "--epochs", "1", "--project", str(tmp_path), *SMALL]
    cli.train([*words, "--batch", "8", "--classes", "1"])
    assert yaml.safe_load((tmp_path / "train" / "args.yaml").read_text())["classes"] == [1]
    assert load_checkpoint(tmp_path / "train" / "weights" / "best.pt").names[1] == "pit"


def test_a_validation_of_one_class_for_all(weights: Path, demo: Path, tmp_path: Path) -> None:
    words = ["--weights", str(weights), "--data", str(demo), "--project", str(tmp_path), *SMALL]
    cli.val([*words, "--name", "all"])
    cli.val([*words, "--name", "one", "--single-cls"])
    every, one = (json.loads((tmp_path / name / "metrics.json").read_text())["per_class"] for name in ("all", "one"))
    assert list(one) == ["item"]
    assert one["item"]["boxes"] == sum(row["boxes"] for row in every.values())


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("predict", {"batch": 0}, "--batch 0: must be a whole number of images"),
        ("predict", {"batch": -1}, "--batch -1: must be a whole number of images"),
        ("predict", {"embed": [3]}, "--embed 3: is not supported"),
        ("val", {"batch": 0}, "--batch 0: must be a whole number of images"),
        ("val", {"batch": -1}, "--batch -1: must be a whole number of images"),
        ("train", {"batch": 0}, "--batch 0: must be a number of images"),
        ("train", {"batch": -2}, "--batch -2: must be a number of images"),
        ("train", {"embed": [3]}, "--embed 3: is not supported"),
        ("predict", {"classes": [9]}, "--classes 9: there is no such class"),
        ("predict", {"classes": True}, "--classes True: must be numbers of classes"),
    ],
)
def test_values_that_cannot_be(
    command: str, options: dict[str, Any], message: str, weights: Path, demo: Path, tmp_path: Path
) -> None:
    place = {"source": str(demo.parent / "images" / "val")} if command == "predict" else {"data": str(demo)}
    with pytest.raises(UserError, match=f"^{message}"):
        getattr(MOAT(weights), command)(**place, **options, project=str(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_the_home_folder_wherever_a_path_begins_with_it(
    weights: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "best.pt").write_bytes(weights.read_bytes())
    (tmp_path / "images").symlink_to(images)
    words = ["--weights=~/best.pt", "--source=~/images", "--project=~/runs", "--imgsz", "64", "--debug"]
    cli.detect([*words, "--save-txt", "--conf", "0.0001"])
    assert len(list((tmp_path / "runs" / "detect").glob("*.jpg"))) == len(list(images.iterdir()))
    model = MOAT(Path("~/best.pt"))
    assert len(model.predict(Path("~/images"), imgsz=64, verbose=False)) == len(list(images.iterdir()))


@pytest.mark.parametrize(
    ("given", "settled"),
    [
        ({"classes": np.array([1, 0])}, {"classes": [1, 0]}),
        ({"classes": torch.tensor(1)}, {"classes": [1]}),
        ({"conf": np.float32(0.5)}, {"conf": 0.5}),
        ({"imgsz": np.int64(96)}, {"imgsz": 96}),
        ({"epochs": np.int64(3)}, {"epochs": 3}),
    ],
)
def test_numbers_of_numpy_and_torch_are_numbers(given: dict[str, Any], settled: dict[str, Any]) -> None:
    assert settle(given) == settled


@pytest.mark.parametrize("given", [{"augment": "yes"}, {"max_det": "many"}, {"iou": "0,5"}, {"epochs": [1, 2]}])
def test_a_text_or_a_list_where_a_number_is_expected_is_refused(given: dict[str, Any]) -> None:
    ((name, value),) = given.items()
    with pytest.raises(UserError, match=f"--{name.replace('_', '-')} {re.escape(str(value))}: "):
        settle(given)


@pytest.mark.parametrize(("content", "says"), [("3: 4", "unknown argument 3"), ("null: 4", "unknown argument None")])
def test_a_key_of_a_cfg_that_is_no_text_is_unknown(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "cfg.yaml").write_text(content)
    with pytest.raises(UserError, match=says):
        MOAT("tiny_moat0").val(data="demo", cfg=tmp_path / "cfg.yaml")


def test_many_absent_classes_do_not_fill_the_screen() -> None:
    with pytest.raises(UserError) as raised:
        check_classes(range(20000), {0: "a"})
    assert len(str(raised.value)) < 600
    assert "there are 0 to 0" in str(raised.value)


def test_the_drop_path_of_a_training_is_its_backbones(demo: Path, model_yaml: Path, tmp_path: Path) -> None:
    words: dict[str, Any] = {"data": str(demo), "project": str(tmp_path), "imgsz": 64, "device": "cpu"}
    trainer = MOAT(model_yaml).make_trainer(drop_path=0.3, **words)
    config = yaml.safe_load((trainer.save_dir / "options.yaml").read_text())["config"]
    assert config["backbone"] == {"name": "tiny_moat0", "drop_path": 0.3}
    rates = [block.drop_path.rate for stage in build_model(config, 3).backbone.stages for block in stage]
    assert rates[0] == 0 < rates[-1] < 0.3
    assert with_drop_path({"backbone": "timm/test_coatnet"}, 0.2)["backbone"]["drop_path_rate"] == 0.2
    for model, rate, part in ((model_yaml, 1.0, "must be a rate"), ("yolo11n.yaml", 0.1, "drop no branches")):
        with pytest.raises(UserError, match=f"--drop-path {rate}: .*{part}"):
            MOAT(model).make_trainer(drop_path=rate, **words)
