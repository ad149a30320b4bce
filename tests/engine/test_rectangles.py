"""Training, validation and detection at another shape than a square."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from moat_det.cli import main as cli
from moat_det.data.config import load_dataset
from moat_det.data.sizes.imgsz import take_training_shape
from moat_det.demo import generate_demo
from moat_det.engine import MOAT
from moat_det.engine.checkpoint import load_checkpoint
from moat_det.engine.predictor import Predictor
from moat_det.engine.train_options import TrainOptions
from moat_det.engine.trainer import Trainer
from moat_det.engine.validator import Validator

Shapes = list[tuple[int, ...]]
SMALL = ["--batch", "4", "--plots", "false", "--workers", "0", "--debug"]


@pytest.fixture(scope="session")
def strips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data.yaml of a demo set of strips of 64 x 256 px."""
    return generate_demo(tmp_path_factory.mktemp("data") / "strips", train=8, val=6, size=(64, 256))


@pytest.fixture(scope="session")
def run(strips: Path, model_yaml: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training at 32 x 128, with pictures."""
    project = tmp_path_factory.mktemp("runs")
    words = [word for word in SMALL if word not in {"--plots", "false"}]
    cli.train(
        [
            "--data",
            str(strips),
            "--model",
            str(model_yaml),
            "--project",
            str(project),
            "--imgsz",
            "32",
            "125",
            "--epochs",
            "1",
            *words,
        ]
    )
    return project / "train"


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Shapes]:
    """The shapes (B, C, H, W) of the batches in training, validation and detection."""
    shapes: dict[str, Shapes] = {"train": [], "val": [], "detect": []}

    def watch(owner: type, method: str, name: str) -> None:
        original = getattr(owner, method)

        def watched(self: Any, batch: Any) -> Any:
            result = original(self, batch)
            shapes[name].append(tuple((result["img"] if isinstance(result, dict) else result).shape))
            return result

        monkeypatch.setattr(owner, method, watched)

    watch(Trainer, "preprocess_batch", "train")
    watch(Validator, "preprocess", "val")
    watch(Predictor, "preprocess", "detect")
    return shapes


def sizes(shapes: Shapes) -> set[tuple[int, ...]]:
    return {shape[2:] for shape in shapes}


def train(data: Path, project: Path, *words: str) -> Path:
    cli.train(["--data", str(data), "--project", str(project), *words, "--epochs", "1", *SMALL])
    return project / "train"


def test_the_run_knows_its_shape(run: Path, strips: Path) -> None:
    options = yaml.safe_load((run / "options.yaml").read_text())
    assert options["shape"] == [32, 128]  # 125, rounded up to the stride
    checkpoint = load_checkpoint(run / "weights" / "best.pt")
    assert checkpoint.args["imgsz"] == [32, 128]
    assert checkpoint.trained.size == (32, 128)
    assert {"train_batch0.jpg", "labels.jpg", "val_batch0_pred.jpg"} <= {path.name for path in run.iterdir()}


def test_validation_and_detection_take_the_shape_of_the_training(
    run: Path, strips: Path, tmp_path: Path, seen: dict[str, Shapes]
) -> None:
    model = MOAT(run / "weights" / "best.pt")
    figures = model.val(data=str(strips), batch=4, plots=False, workers=0, project=str(tmp_path))
    assert seen["val"] == [(4, 3, 32, 128), (2, 3, 32, 128)]
    assert pytest.approx(json.loads((run / "metrics.json").read_text())["AP"], abs=1e-6) == figures.AP
    image = sorted((strips.parent / "images" / "val").iterdir())[0]
    model(image, verbose=False, project=str(tmp_path))
    cli.detect(["--weights", str(run / "weights" / "best.pt"), "--source", str(image), "--project", str(tmp_path)])
    assert seen["detect"] == [(1, 3, 32, 128)] * 2


@pytest.mark.parametrize(
    ("imgsz", "shape"),
    [(64, (32, 64)), ([96, 96], (96, 96)), ([64, 150], (64, 160)), ("native", (64, 256))],
)
def test_an_explicit_size_is_obeyed(
    imgsz: Any,
    shape: tuple[int, int],
    run: Path,
    strips: Path,
    tmp_path: Path,
    seen: dict[str, Shapes],
) -> None:
    model = MOAT(run / "weights" / "best.pt")
    model.val(data=str(strips), imgsz=imgsz, batch=2, plots=False, workers=0, project=str(tmp_path))
    assert sizes(seen["val"]) == {shape}
    image = sorted((strips.parent / "images" / "val").iterdir())[0]
    model(image, imgsz=imgsz, verbose=False, project=str(tmp_path))
    assert seen["detect"][-1][2:] == shape
    model(image, verbose=False, project=str(tmp_path))
    assert seen["detect"][-1][2:] == (32, 128)


def test_validation_and_detection_see_the_same_pixels(
    run: Path, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Square images of 96 px in 32 x 96: they are scaled, and padded at the left and the right."""
    pixels: dict[str, torch.Tensor] = {}
    validate, detect = Validator.preprocess, Predictor.preprocess

    def keep_val(self: Any, batch: Any) -> Any:
        pixels.setdefault("val", batch["img"][0])
        return validate(self, batch)

    def keep_detect(self: Any, images: Any) -> Any:
        pixels["detect"] = detect(self, images)[0]
        return pixels["detect"][None]

    monkeypatch.setattr(Validator, "preprocess", keep_val)
    monkeypatch.setattr(Predictor, "preprocess", keep_detect)
    model, common = MOAT(run / "weights" / "best.pt"), {"imgsz": [32, 96], "project": str(tmp_path)}
    model.val(data=str(demo), plots=False, workers=0, **common)
    model(sorted((demo.parent / "images" / "val").iterdir())[0], verbose=False, **common)
    assert pixels["val"].shape == (3, 32, 96)
    assert torch.equal(pixels["val"], pixels["detect"])


def test_multi_scale_of_a_model_of_the_engine(strips: Path, tmp_path: Path, seen: dict[str, Shapes]) -> None:
    best = train(strips, tmp_path, "--model", "yolo11n.yaml", "--imgsz", "32", "128", "--multi-scale", "0.5")
    assert len(sizes(seen["train"])) > 1
    assert all(height % 32 == width % 32 == 0 and width >= height for height, width in sizes(seen["train"]))
    assert load_checkpoint(best / "weights" / "best.pt").args["imgsz"] == [32, 128]


def test_a_resumed_training_keeps_the_shape_bit_for_bit(
    strips: Path, model_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: dict[str, Shapes]
) -> None:
    everything = "--mixup 0.5 --cutmix 0.5 --degrees 10 --perspective 0.001 --fraction 6 --single-cls --freeze 1"
    words = ["--model", str(model_yaml), "--imgsz", "32", "128", "--close-mosaic", "0", "--epochs", "2"]
    save, cut = Trainer.save_model, tmp_path / "cut"

    def save_and_copy(self: Trainer) -> bool:
        saved = save(self)
        if self.epoch == 0:
            shutil.copytree(self.save_dir, cut)
        return saved

    monkeypatch.setattr(Trainer, "save_model", save_and_copy)
    cli.train(["--data", str(strips), "--project", str(tmp_path / "whole"), *SMALL, *words, *everything.split()])
    last = cut / "weights" / "last.pt"
    cli.train(["--resume", str(last), "--debug"])
    uncut, resumed = load_checkpoint(tmp_path / "whole" / "train" / "weights" / "last.pt"), load_checkpoint(last)
    assert resumed.args["imgsz"] == [32, 128]
    assert sizes(seen["train"]) == sizes(seen["val"]) == {(32, 128)}
    for name, value in uncut.weights.items():
        assert torch.equal(value, resumed.weights[name]), name


def test_options_from_before_shapes_are_those_of_squares() -> None:
    old = {"weights": None, "nbs_follows_batch": True, "freeze_backbone": 0, "layer_decay": 1.0}
    assert TrainOptions({}, **old).shape is None


def test_auto_takes_the_shape_of_the_data(strips: Path, caplog: pytest.LogCaptureFixture) -> None:
    arguments = {"imgsz": "auto", "fraction": 4}
    assert take_training_shape(arguments, load_dataset(strips), stride=32) == (64, 256)
    assert arguments["imgsz"] == 256
    (line,) = [message for message in caplog.messages if "auto" in message]
    assert "64 x 256" in line
    assert "the median of 4 training images" in line


def test_rectangles_of_batches(strips: Path, model_yaml: Path, tmp_path: Path, seen: dict[str, Shapes]) -> None:
    train(strips, tmp_path, "--model", str(model_yaml), "--imgsz", "64", "--rect")
    assert sizes(seen["train"]) == {(32, 64)}


@pytest.mark.parametrize(
    ("command", "words", "expected"),
    [
        ("train", "--imgsz 64 256 3", "--imgsz 64 256 3: give the longer side"),
        ("train", "--imgsz 0 256", "--imgsz 0 256"),
        ("train", "--imgsz 0", "--imgsz 0"),
        ("val", "--imgsz -64", "--imgsz -64"),
        ("train", "--imgsz 64 256 --rect", "--rect"),
        ("train", "--imgsz native", "--imgsz native"),
        ("val", "--imgsz auto", "--imgsz auto"),
        ("val", "--imgsz 1 2 3", "--imgsz 1 2 3"),
        ("detect", "--imgsz auto --source x.png", "--imgsz auto"),
    ],
)
def test_sizes_that_are_none(
    command: str,
    words: str,
    expected: str,
    run: Path,
    strips: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ["--data", str(strips)] if command == "train" else ["--weights", str(run / "weights" / "best.pt")]
    with pytest.raises(SystemExit) as exit_:
        getattr(cli, command)([*given, "--project", str(tmp_path), *words.split()])
    assert exit_.value.code == 2
    assert expected in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
