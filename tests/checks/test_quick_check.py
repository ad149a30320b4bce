from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from PIL import Image

from helpers.dirt import NAMES, write_clean
from moat_det.checks.quick import quick_check
from moat_det.data.config import load_dataset
from moat_det.data.index import ScanReport, SplitIndex, open_index

CLASSES = dict(enumerate(NAMES))


def indices(file: Path) -> dict[str, SplitIndex]:
    data = load_dataset(file)
    return {split: open_index(data[split], data["names"]) for split in ("train", "val")}


def test_nothing_is_said_of_a_clean_set(tmp_path: Path) -> None:
    assert quick_check(indices(write_clean(tmp_path)), CLASSES, (128, 128)) == []


def test_each_thing_is_told_in_a_line(tmp_path: Path) -> None:
    file = write_clean(tmp_path)
    labels = tmp_path / "labels"
    for label in labels.glob("train/*.txt"):
        label.write_text(
            "0 0.5 0.5 0.2 0.2\n" if label.stem != "part001" else "0 0.5 0.5 0.01 0.2\n0 0.5 0.5 0.9 0.02\n"
        )
    for kind, suffix in (("images", "png"), ("labels", "txt")):
        copy = tmp_path / kind / f"val/part000.{suffix}"
        copy.write_bytes((tmp_path / kind / f"train/part000.{suffix}").read_bytes())
    lines = quick_check(indices(file), {**CLASSES, 3: "burr"}, (128, 128))
    assert len(lines) == 6
    parts = ("1: pit", "3: burr", "1 images are in two splits", "1 boxes have a side under 2 px", "1 boxes are longer")
    for line, part in zip(lines, (*parts, "moat check"), strict=True):
        assert part in line
    assert "part000.png" in lines[2]
    # Half the size, more of them are small; squares in a strip are scaled to its height.
    for shape in ((64, 64), (64, 512)):
        assert any("2 boxes have a side under 2 px" in line for line in quick_check(indices(file), CLASSES, shape))


def test_files_of_one_name_and_size_are_one_picture_where_their_bytes_are(tmp_path: Path) -> None:
    file = write_clean(tmp_path)
    names = [f"{number:04d}.bmp" for number in range(50)]
    for split, value in (("train", 40), ("val", 60)):
        for name in names:
            Image.fromarray(np.full((8, 8), value, np.uint8)).save(tmp_path / "images" / split / name)
            (tmp_path / "labels" / split / name).with_suffix(".txt").write_text("0 0.5 0.5 0.5 0.5\n")
    assert not [line for line in quick_check(indices(file), CLASSES, (128, 128)) if "two splits" in line]
    for name in names:
        (tmp_path / "images/val" / name).write_bytes((tmp_path / "images/train" / name).read_bytes())
    (line,) = [line for line in quick_check(indices(file), CLASSES, (128, 128)) if "two splits" in line]
    assert line.startswith("25 of 25 images compared are in two splits")


def test_forgotten_labels_are_told(tmp_path: Path) -> None:
    file = write_clean(tmp_path)
    for label in sorted((tmp_path / "labels/train").glob("*.txt"))[4:]:
        label.unlink()
    assert "93% of the images of train have no box" in " ".join(quick_check(indices(file), CLASSES, (128, 128)))


def test_a_hundred_thousand_images_take_a_second() -> None:
    count, boxes = 100_000, 3
    random = np.random.default_rng(0)
    corners = random.uniform(0, 300, (count * boxes, 2))

    def split(first: int, number: int) -> SplitIndex:
        return SplitIndex(
            formats=["yolo"],
            paths=[f"/absent/{i:07d}.png" for i in range(first, first + number)],
            shapes=np.full((number, 2), 640),
            starts=np.arange(number + 1) * boxes,
            classes=random.integers(0, 3, number * boxes),
            boxes=np.hstack([corners, corners + 30])[: number * boxes],
            shares=np.zeros((number * boxes, 4)),
            ignored=np.zeros(number * boxes, dtype=bool),
            report=ScanReport(images=number, labelled=number),
        )

    given = {"train": split(0, 80_000), "val": split(80_000, 20_000)}
    start = time.process_time()
    assert quick_check(given, CLASSES, (640, 640)) == []
    assert time.process_time() - start < 1
