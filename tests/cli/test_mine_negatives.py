from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from moat_det.cli.main import run
from moat_det.data.config import load_dataset
from moat_det.data.index import open_index
from moat_det.demo import generate_demo
from moat_det.engine.model import MOAT

MODEL = "backbone: {name: tiny_moat0}\nneck: {channels: [16, 16, 16]}\n"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learnt nothing, and fires anywhere with a low score."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "small.yaml").write_text(MODEL)
    MOAT(folder / "small.yaml").save(folder / "best.pt")
    return folder / "best.pt"


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An inspection line: a set, and a folder with five good parts, one that carries labels, and one of the set's."""
    data = generate_demo(tmp_path / "set", train=6, val=3, size=(96, 96))
    images = open_index(load_dataset(data)["val"], load_dataset(data)["names"])
    good = tmp_path / "good"
    good.mkdir()
    for i in range(5):
        shutil.copy(images.paths[i % 3], good / f"part{i}.png")
    shutil.copy(images.paths[0], good / "labelled.png")
    (good / "labelled.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (good / "of_the_set.png").symlink_to(images.paths[0])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mined(weights: Path, *words: str) -> int:
    options = ["--imgsz", "64", "--conf", "0.000001", "--max-det", "3"]
    return run(
        "mine-negatives", ["--weights", str(weights), "--source", "good", "--out", "negatives.txt", *options, *words]
    )


def test_the_list_joins_the_training(line: Path, weights: Path, capsys: Any) -> None:
    # Where a pattern names it, as where a folder does, what is in val is left out.
    content = yaml.safe_load((line / "set/data.yaml").read_text())
    (line / "set/data.yaml").write_text(yaml.safe_dump({**content, "val": "images/va[l]/*"}))
    before = (line / "set/data.yaml").read_bytes()
    assert mined(weights, "--data", "set/data.yaml", "--write-yaml", "next.yaml", "--verbose") == 0
    out = capsys.readouterr().out.strip().splitlines()
    assert out[-1] == f"train with the 5 images of {line / 'negatives.txt'}: --data next.yaml"
    assert any("1 images of good are left out: they have labels of their own" in text for text in out)
    assert any("1 images of good are left out: they " in text and " val" in text for text in out)
    listed = (line / "negatives.txt").read_text().splitlines()
    assert sorted(listed) == [str(line / f"good/part{i}.png") for i in range(5)]
    entries = json.loads((line / "negatives.json").read_text())["images"]
    assert list(entries) == listed
    scores = [entry["score"] for entry in entries.values()]
    assert scores == sorted(scores, reverse=True)
    assert all(len(entry["detections"]) == 3 for entry in entries.values())
    assert cv2.imread("negatives.jpg").shape == (320, 5 * 326 - 6, 3)
    assert (line / "set/data.yaml").read_bytes() == before
    assert {path.name for path in line.iterdir()} == {
        *("set", "good", "next.yaml"),
        *("negatives.txt", "negatives.json", "negatives.jpg"),
    }

    data = load_dataset("next.yaml")
    index = open_index(data["train"], data["names"])
    assert index.report.images == 11
    backgrounds = {path for path, boxes in zip(index.paths, np.diff(index.starts), strict=True) if not boxes}
    assert set(listed) <= backgrounds  # good/ has no folder of labels
    assert load_dataset("next.yaml")["val"] == load_dataset("set/data.yaml")["val"]


def test_a_second_round_adds_to_the_list(line: Path, weights: Path, capsys: Any) -> None:
    assert mined(weights, "--data", "set/data.yaml", "--write-yaml", "next.yaml") == 0
    first = (line / "negatives.txt").read_text().splitlines()
    shutil.copy(line / "good/part0.png", line / "good/part9.png")
    assert mined(weights, "--data", "next.yaml", "--write-yaml", "next.yaml") == 0
    second = (line / "negatives.txt").read_text().splitlines()
    assert second == [*first, str(line / "good/part9.png")]
    assert yaml.safe_load((line / "next.yaml").read_text())["train"].count(str(line / "negatives.txt")) == 1
    assert "they are already in train" in capsys.readouterr().out


def test_without_a_dataset_the_last_line_says_what_to_write(line: Path, weights: Path, capsys: Any) -> None:
    assert mined(weights) == 0
    out = capsys.readouterr().out.strip().splitlines()
    assert out[-1].endswith(f"write 'train: [images/train, {line / 'negatives.txt'}]' in your dataset YAML")


def test_a_model_that_does_not_fire_leaves_no_list(line: Path, weights: Path, capsys: Any) -> None:
    assert (
        run(
            "mine-negatives",
            ["--weights", str(weights), "--source", "good", "--out", "n.txt", "--imgsz", "64", "--conf", "0.99"],
        )
        == 0
    )
    assert "nothing to learn" in capsys.readouterr().out
    assert not list(line.glob("n.*"))


@pytest.mark.parametrize("name", ["negatives.txt", "negatives.json", "negatives.jpg"])
def test_what_is_not_its_own_stays(line: Path, weights: Path, name: str, capsys: Any) -> None:
    (line / name).write_text("the user's")
    assert mined(weights) == 2
    assert "choose another --out" in capsys.readouterr().err
    assert (line / name).read_text() == "the user's"


def test_a_yaml_of_another_encoding_stays(line: Path, weights: Path, capsys: Any) -> None:
    (line / "old.yaml").write_bytes("# Prüfung".encode("latin-1"))
    assert mined(weights, "--data", "set/data.yaml", "--write-yaml", "old.yaml") == 2
    assert "--write-yaml old.yaml: it is there and says something else" in capsys.readouterr().err


def test_names_that_no_list_has_room_for_are_said(line: Path, weights: Path, capsys: Any) -> None:
    for name in (b"pr\xfcf.png", b"two\nlines.png", "next\x85.png".encode()):
        shutil.copy(line / "good/part0.png", os.fsdecode(os.fsencode(line / "good") + b"/" + name))
    assert mined(weights) == 0
    assert "3 images of good are left out: a list has no room for their names" in capsys.readouterr().out
    assert mined(weights) == 0, "its own list is known again"


def test_a_list_changed_by_hand_stays(line: Path, weights: Path, capsys: Any) -> None:
    assert mined(weights) == 0
    listing = line / "negatives.txt"
    listing.write_text("".join(listing.read_text().splitlines(keepends=True)[1:]))
    kept = listing.read_text()
    assert mined(weights) == 2
    assert "as it wrote it" in capsys.readouterr().err
    assert listing.read_text() == kept


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "list.csv"], "must end in .txt"),
        (["--out", "n.txt", "--write-yaml", "new.yaml"], "--write-yaml needs --data"),
        (["--out", "n.txt", "--data", "set/data.yaml", "--write-yaml", "set/data.yaml"], "it is there"),
        (["--out", "set/data.yaml/n.txt"], "cannot be written"),
        (["--out", "n.txt", "--heatmap", "--good-parts", "good"], "--heatmap: leave it out"),
        (["--out", "n.txt", "--ray", "2"], "--ray: leave it out"),
        (["--out", "n.txt", "--save-csv"], "--save-csv: leave it out"),
        (["--out", "n.txt", "--source", "absent"], "absent: no such folder"),
        (["--out", "n.txt", "--source", "set/images/train", "--data", "set/data.yaml"], "no good image is left"),
    ],
)
def test_a_mistake_ends_in_one_line(line: Path, weights: Path, words: list[str], message: str, capsys: Any) -> None:
    before = (line / "set/data.yaml").read_bytes()
    more = words if "--source" in words else [*words, "--source", "good"]
    assert run("mine-negatives", ["--weights", str(weights), "--imgsz", "64", "--conf", "0.000001", *more]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("mine-negatives: ")
    assert message in error
    assert (line / "set/data.yaml").read_bytes() == before
