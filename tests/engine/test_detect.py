from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from helpers.pairing import assert_same_boxes
from helpers.squares import Learnt
from moat_det.cli import main as cli
from moat_det.engine import MOAT


@pytest.fixture
def images(demo: Path, tmp_path: Path) -> Path:
    """Three pictures, a text that calls itself one, and half a JPEG."""
    folder = tmp_path / "images"
    folder.mkdir()
    for path in sorted((demo.parent / "images" / "val").iterdir())[:3]:
        Image.open(path).save(folder / path.name)
    (folder / "text.jpg").write_text("no picture")
    whole = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8))[1].tobytes()
    (folder / "half.jpg").write_bytes(whole[: len(whole) // 2])
    return folder


def detect(weights: Path, source: Path | str, project: Path, *words: str) -> Path:
    cli.detect(
        [
            "--weights",
            str(weights),
            "--source",
            str(source),
            "--project",
            str(project),
            "--imgsz",
            "64",
            *words,
            "--debug",
        ]
    )
    return project / "detect"


def test_a_folder_with_unreadable_files(trained: Path, images: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in images.iterdir()}
    words = ("--save-txt", "--save-json", "--save-csv", "--save-crop", "--conf", "0.0001", "--max-det", "5")
    folder = detect(trained / "weights" / "best.pt", images, tmp_path / "runs", *words)
    assert len(list(folder.glob("*.jpg"))) == 3
    assert len(list((folder / "labels").glob("*.txt"))) == 3
    assert list((folder / "crops").rglob("*.jpg"))
    assert {path: path.read_bytes() for path in images.iterdir()} == before

    found = json.loads((folder / "predictions.json").read_text())
    rows = list(csv.DictReader((folder / "detections.csv").open()))
    assert len(found) == len(rows) == 15
    for entry, row in zip(found, rows, strict=True):
        assert entry["file_name"] == row["file_name"]
        assert entry["category_id"] == int(row["class"]) + 1
        x, y, width, height = entry["bbox"]
        assert [x, y] == [float(row["x1"]), float(row["y1"])]
        assert [x + width, y + height] == pytest.approx([float(row["x2"]), float(row["y2"])], abs=2e-3)
        assert 0 <= x <= x + width <= 96
    assert {entry["image_id"] for entry in found} == {1, 2, 3}


def test_unreadable_files_are_said_and_counted(
    trained: Path, images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="moat_det"):
        detect(trained / "weights" / "best.pt", images, tmp_path / "runs")
    said = caplog.text
    assert "2 unreadable file(s) were skipped" in said
    assert "text.jpg" in said
    assert "in 3 images" in said


def test_nothing_found_is_a_result(trained: Path, images: Path, tmp_path: Path) -> None:
    folder = detect(
        trained / "weights" / "best.pt", images, tmp_path / "runs", "--conf", "1.0", "--save-json", "--save-csv"
    )
    assert json.loads((folder / "predictions.json").read_text()) == []
    assert (folder / "detections.csv").read_text().startswith("image_id,file_name")
    assert len(list(folder.glob("*.jpg"))) == 3


def test_a_glob_a_list_and_a_video(trained: Path, images: Path, tmp_path: Path) -> None:
    weights = trained / "weights" / "best.pt"
    assert len(list(detect(weights, f"{images}/*.png", tmp_path / "glob").glob("*.jpg"))) == 3
    listing = tmp_path / "list.txt"
    listing.write_text("\n".join(str(path) for path in sorted(images.glob("*.png"))[:2]))
    assert len(list(detect(weights, listing, tmp_path / "list").glob("*.jpg"))) == 2

    video = tmp_path / "strip.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 10, (96, 96))
    for shade in (40, 120, 200):
        writer.write(np.full((96, 96, 3), shade, np.uint8))
    writer.release()
    folder = detect(weights, video, tmp_path / "video", "--save-csv", "--conf", "0.0001", "--max-det", "1")
    assert list(folder.glob("strip.*"))
    frames = [row["frame"] for row in csv.DictReader((folder / "detections.csv").open())]
    assert frames == ["1", "2", "3"]


def test_the_python_api(trained: Path, images: Path, tmp_path: Path) -> None:
    model = MOAT(trained / "weights" / "best.pt")
    picture = cv2.imread(str(next(images.glob("*.png"))))
    results = model(picture, imgsz=64, conf=0.0001, max_det=3, project=str(tmp_path))
    assert len(results) == 1
    assert len(results[0].boxes) == 3
    assert results[0].names[3] == "missing_pad"


def test_the_batch_does_not_change_the_boxes(learnt: Learnt, tmp_path: Path) -> None:
    model = MOAT(learnt.weights)
    files = [str(path) for path in sorted((learnt.data.parent / "images" / "val").iterdir())[:3]]
    common = {"imgsz": 96, "conf": 0.3, "max_det": 10, "amp": False, "project": str(tmp_path)}
    together = model(files, batch=3, **common)
    for file, expected in zip(files, together, strict=True):
        alone = model(file, batch=1, **common)[0]
        assert len(alone)
        assert_same_boxes(alone.boxes.data.numpy(), expected.boxes.data.numpy(), atol=1e-2)


def test_loaded_weights_are_those_that_predict(trained: Path, demo: Path, tmp_path: Path) -> None:
    model, quiet = (MOAT(trained / "weights" / "best.pt") for _ in range(2))
    for scores in quiet.model.head.cv3:
        torch.nn.init.constant_(scores[-1].bias, -20.0)
    quiet.save(tmp_path / "quiet.pt")
    picture = str(next((demo.parent / "images" / "val").iterdir()))
    assert len(model(picture, conf=0.0001)[0])
    assert not len(model.load(tmp_path / "quiet.pt")(picture, conf=0.0001)[0])
