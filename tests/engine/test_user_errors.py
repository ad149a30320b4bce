"""What a user gets wrong, through the command lines: one line that names the thing and the way out, exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from moat_det.cli import main as cli
from moat_det.engine import MOAT
from moat_det.errors import UserError

REPO = Path(__file__).resolve().parents[2]


def complaint(command: str, words: list[object], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit_:
        getattr(cli, command)([str(word) for word in words])
    assert exit_.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith(f"{command}: ")
    assert "Traceback" not in line
    return line


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A set of four noise images a split, one box in each."""
    for split in ("train", "val"):
        for index in range(4):
            image = tmp_path / "set" / "images" / split / f"{index}.png"
            label = tmp_path / "set" / "labels" / split / f"{index}.txt"
            for path in (image, label):
                path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(index).integers(0, 255, (64, 64, 3), np.uint8)
            Image.fromarray(noise).save(image)
            label.write_text("0 0.5 0.5 0.25 0.25\n")
    yaml = tmp_path / "set" / "data.yaml"
    yaml.write_text("train: images/train\nval: images/val\nnames: [scratch, pit]\n")
    return yaml


def test_no_dataset_yaml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint("train", ["--data", tmp_path / "defects.yaml", "--project", tmp_path], capsys)
    assert "defects.yaml" in line


@pytest.mark.parametrize("key", ["train", "val", "names"])
def test_a_yaml_without_a_key(key: str, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for line in dataset.read_text().splitlines() if not line.startswith(key)]
    dataset.write_text("\n".join(lines))
    line = complaint("train", ["--data", dataset, "--project", tmp_path], capsys)
    assert f"'{key}'" in line
    assert "data.yaml" in line


def test_a_folder_without_images(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (dataset.parent / "images" / "train").iterdir():
        path.unlink()
    line = complaint("train", ["--data", dataset, "--project", tmp_path, "--imgsz", "64"], capsys)
    assert "images/train" in line.replace(os.sep, "/")


def test_images_without_any_label_cannot_train(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (dataset.parent / "labels" / "train").iterdir():
        path.unlink()
    line = complaint("train", ["--data", dataset, "--project", tmp_path, "--imgsz", "64"], capsys)
    assert "labels" in line


def test_images_without_any_label_can_be_validated(trained: Path, demo: Path, tmp_path: Path) -> None:
    copy = tmp_path / "good" / "images" / "val"
    copy.mkdir(parents=True)
    for path in sorted((demo.parent / "images" / "val").iterdir())[:2]:
        (copy / path.name).write_bytes(path.read_bytes())
    yaml = tmp_path / "good" / "data.yaml"
    yaml.write_text("train: images/val\nval: images/val\nnames: [scratch, pit, stain, missing_pad]\n")
    best = trained / "weights" / "best.pt"
    cli.val(["--weights", str(best), "--data", str(yaml), "--project", str(tmp_path / "runs"), "--debug"])
    assert (tmp_path / "runs" / "val" / "metrics.json").exists()


def test_a_class_id_past_names(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dataset.parent / "labels" / "train" / "2.txt").write_text("7 0.5 0.5 0.25 0.25\n")
    line = complaint("train", ["--data", dataset, "--project", tmp_path, "--imgsz", "64"], capsys)
    assert "2.txt" in line
    assert "7" in line


def test_a_backbone_that_does_not_exist(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint("train", ["--data", dataset, "--backbone", "tiny_moat9", "--project", tmp_path], capsys)
    assert "tiny_moat9" in line
    assert "moat4" in line
    assert "tiny_moat0" in line


@pytest.mark.parametrize("command", ["val", "detect"])
def test_weights_that_are_no_checkpoint(
    command: str, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = ["--data", dataset] if command == "val" else ["--source", dataset.parent / "images" / "val"]
    absent, text, pickled, foreign = (tmp_path / f"{name}.pt" for name in ("absent", "text", "pickled", "foreign"))
    text.write_text("these are no weights")
    torch.save(torch.nn.Linear(1, 1), pickled)
    torch.save({"weights": torch.zeros(1)}, foreign)
    for path in (absent, text, pickled, foreign):
        line = complaint(command, ["--weights", path, *rest, "--project", tmp_path], capsys)
        assert path.name in line


def test_weights_of_another_architecture(
    trained: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = trained / "weights" / "best.pt"
    line = complaint(
        "train",
        ["--data", dataset, "--backbone", "tiny_moat1", "--weights", best, "--imgsz", "64", "--project", tmp_path],
        capsys,
    )
    assert "best.pt" in line
    assert "tiny_moat0" in line


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("--weights absent.safetensors", "absent.safetensors"),
        ("--weights absent.pt", "absent.pt"),
        ("--weights absent.tar.gz", "absent.tar.gz"),
        ("--weights text.pt", "text.pt"),
        ("--weights text.safetensors", "text.safetensors"),
        ("--weights text.tar.gz", "text.tar.gz"),
        ("--weights pickled.pt", "pickled.pt"),
        ("--weights newer.pt", "moat_det checkpoint 99"),
        ("--weights imagnet", "imagnet"),
        ("--model yolo11n.yaml --weights imagenet", "has no MOAT backbone"),
        ("--model yolo11n.yaml --freeze-backbone 1", "--freeze-backbone"),
        ("--model yolo11n.yaml --layer-decay 0.9", "--layer-decay"),
        ("--freeze-backbone -1", "0 or more"),
        ("--freeze-backbone 1.5", "an integer"),
        ("--layer-decay 0", "over 0 and at most 1"),
        ("--layer-decay 1.1", "over 0 and at most 1"),
        ("--layer-decay nan", "a number"),
    ],
)
def test_what_fine_tuning_cannot_start_from(
    words: str,
    named: str,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("text.pt", "text.safetensors", "text.tar.gz"):
        Path(name).write_text("these are no weights")
    torch.save(torch.nn.Linear(1, 1), "pickled.pt")
    torch.save({"format": "moat_det checkpoint 99"}, "newer.pt")
    (dataset.parent / "labels" / "train" / "2.txt").write_text("the weights are looked at before the labels are")
    line = complaint("train", ["--data", dataset, "--imgsz", "64", *words.split()], capsys)
    assert named in line
    assert not (tmp_path / "runs" / "train").exists(), "a run's folder is left"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("--save false", "--save false: the checkpoints are a training's result"),
        ("--distill-model yolo26n.pt", "--distill-model yolo26n.pt: is not supported"),
        ("--quantize 8", "--quantize 8: is not supported"),
        ("--seed 4294967296", "--seed 4294967296: must be below 4294967296"),
        ("--freeze -1", "--freeze -1: there is no such part"),
        ("--freeze 9", "--freeze 9: there is no such part"),
        (
            "--freeze backbone,bakcbone",
            "--freeze bakcbone: there is no such part; before the head there are 0 to 2: ",
        ),
    ],
)
def test_what_a_training_does_not_take(
    words: str, named: str, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--backbone", "tiny_moat0", "--imgsz", "64", "--project", tmp_path]
    line = complaint("train", ["--data", dataset, *model, *words.split()], capsys)
    assert named in line
    assert not (tmp_path / "train").exists()


def test_weights_of_other_classes(
    trained: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = trained / "weights" / "best.pt"
    line = complaint("val", ["--weights", best, "--data", dataset, "--project", tmp_path], capsys)
    assert "missing_pad" in line


def test_a_device_that_is_not_there(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint("train", ["--data", dataset, "--device", "7", "--project", tmp_path], capsys)
    assert "--device 7" in line
    assert "cpu" in line


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ("backbone: tiny_moat0\nnekc: {channels: [8, 8, 8]}", "neck"),
        ("backbone: tiny_moat0\nneck: {channels: [8, 8]}", "channels"),
        ("backbone: tiny_moat0\nneck: {chanels: [8, 8, 8]}", "channels"),
        ("backbone: {name: tiny_moat0, windows: full}\nneck: {channels: [8, 8, 8]}", "window"),
        ("backbone: tiny_moat0\nneck: {channels: [8, 8, 8]}\nhead: {reg_max: many}", "reg_max"),
        ("[]", "mapping"),
        ("backbone: {", "YAML"),
    ],
)
def test_a_model_yaml_that_is_not_in_order(
    config: str, named: str, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(config)
    line = complaint("train", ["--data", dataset, "--model", path, "--project", tmp_path], capsys)
    assert "mine.yaml" in line
    assert named in line


def test_a_source_that_is_not_there(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    best = trained / "weights" / "best.pt"
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.jpg").write_text("no picture")
    for source in (tmp_path / "nowhere", tmp_path / "empty", tmp_path / "text"):
        line = complaint("detect", ["--weights", best, "--source", source, "--project", tmp_path], capsys)
        assert source.name in line


def test_nothing_to_resume(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "finished" in complaint("train", ["--resume", trained / "weights" / "last.pt"], capsys)
    assert "last.pt" in complaint("train", ["--resume", "--project", tmp_path], capsys)


def test_an_odd_size_is_rounded_up_and_said(
    trained: Path, demo: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    best = trained / "weights" / "best.pt"
    with caplog.at_level("WARNING", logger="moat_det"):
        cli.val(["--weights", str(best), "--data", str(demo), "--imgsz", "50", "--project", str(tmp_path), "--debug"])
    assert "50" in caplog.text
    assert "64" in caplog.text


def test_a_reader_that_leaves_early_gets_no_traceback() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} {REPO}/train.py --help | head -n 1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("usage")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("script", ["train", "val", "detect"])
def test_the_scripts_end_in_a_line_and_code_2(script: str) -> None:
    done = subprocess.run(
        [sys.executable, REPO / f"{script}.py", "--nonsense"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "--nonsense" in done.stderr


def test_what_nobody_foresaw_is_a_line_too(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug\nof ours")

    monkeypatch.setattr(MOAT, "train", break_down)
    with pytest.raises(SystemExit) as exit_:
        cli.train(["--data", str(dataset)])
    assert exit_.value.code == 1
    assert capsys.readouterr().err.strip() == (
        "train: failed with ZeroDivisionError: a bug of ours; --debug shows where"
    )
    with pytest.raises(ZeroDivisionError):
        cli.train(["--data", str(dataset), "--debug"])


@pytest.mark.parametrize(
    ("refused", "says"), [({"device": "cuda:9"}, "cuda"), ({"augment": True}, "does not go with --augment")]
)
def test_what_is_refused_amid_the_set_up_is_forgotten(
    refused: dict[str, Any], says: str, model_yaml: Path, dataset: Path, tmp_path: Path
) -> None:
    model, parts = MOAT(model_yaml), str(dataset.parent / "images")
    given: dict[str, Any] = {"imgsz": 64, "verbose": False, "project": tmp_path / "runs"}
    if "augment" in refused:
        given |= {"heatmap": True, "good_parts": parts}
    for _ in range(2):
        with pytest.raises(UserError, match=says):
            model.predict(parts, **given, **refused)
    assert len(model.predict(parts, **given)) == 8


@pytest.mark.parametrize("command", ["detect", "track"])
def test_frames_without_the_video(
    command: str, trained: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if command == "track":
        pytest.importorskip("lap")
    words = [
        "--weights",
        trained / "weights/best.pt",
        "--source",
        dataset.parent / "images",
        "--project",
        tmp_path / "r",
    ]
    assert cli.run(command, [str(word) for word in (*words, "--save-frames", "--save", "false")]) == 2
    assert "--save-frames: goes with the videos that are written; give --save true" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
