from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from helpers.annotation_files import write_coco, write_images, write_voc, write_yolo
from helpers.dataset_files import noise
from moat_det.benchmark.accuracy.sets import BenchSet, _write, make_sets, split_training, take_shares
from moat_det.data.config import load_dataset, reading, split_paths
from moat_det.data.index import open_index
from moat_det.errors import UserError

BOX = "0 0.5 0.5 0.5 0.5\n"


def boards(boards: int, views: int) -> dict[str, str | None]:
    return {f"board{board:02}_{view}.png": BOX for board in range(boards) for view in range(views)}


def files_of(made: BenchSet, split: str) -> set[str]:
    data = load_dataset(made.yaml_file, split)
    return {os.path.basename(path) for path in open_index(split_paths(data, split), None, **reading(data)).paths}


def test_without_a_test_split_val_is_the_test_and_a_tenth_of_train_chooses(
    make_set: Callable[[dict[str, str | None]], Path], tmp_path: Path
) -> None:
    data = make_set(boards(20, 1))
    before = sorted(data.parent.rglob("*"))
    (made,) = make_sets([str(data)], tmp_path / "out")
    assert (made.name, made.test_from, made.size) == ("set", "val", (40, 60))
    assert made.images == {"train": 18, "val": 2, "test": 20}
    train, val = files_of(made, "train"), files_of(made, "val")
    assert not train & val
    assert train | val == set(boards(20, 1))
    assert load_dataset(made.yaml_file, "test")["test"] == [str(data.parent / "images/val")]
    assert sorted(data.parent.rglob("*")) == before, "something was written beside the data"

    (again,) = make_sets([str(data)], tmp_path / "again")
    assert again.identity == made.identity
    (other,) = make_sets([str(data)], tmp_path / "other", seed=1)
    assert files_of(other, "val") != val


def test_a_group_trains_or_chooses_and_one_that_is_tested_too_is_said(
    make_set: Callable[[dict[str, str | None]], Path], tmp_path: Path, log: list[str]
) -> None:
    data = make_set(boards(10, 3))
    (made,) = make_sets([str(data)], tmp_path / "out", group=r"^(board\d+)_")
    groups = {split: {name[:7] for name in files_of(made, split)} for split in ("train", "val")}
    assert made.images == {"train": 27, "val": 3, "test": 30}
    assert not groups["train"] & groups["val"]
    assert any(
        "10 groups have images in the test and in the training, such as board00, board01" in line for line in log
    )


def test_the_datas_own_test_is_taken(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for number in range(3 if split == "test" else 2):
            image = tmp_path / "steel" / split / "images" / f"{split}{number}.png"
            image.parent.mkdir(parents=True, exist_ok=True)
            noise(seed=number).save(image)
    data = tmp_path / "steel" / "steel_a.yaml"
    data.write_text("train: train/images\nval: val/images\ntest: test/images\nnames: [pit]\n")
    (made,) = make_sets([str(data)], tmp_path / "out")
    assert (made.name, made.yaml_file, made.test_from) == ("steel_a", data, "test")
    assert made.images == {"train": 2, "val": 2, "test": 3}
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["coco", "voc"])
def test_every_format_is_split_alike(tmp_path: Path, kind: str) -> None:
    """The same images and boxes choose, whatever the annotations are written in."""
    root = tmp_path / "same"
    for split in ("train", "val"):
        write_images(root / "images" / split)
        write_yolo(root / "labels" / split)
        write_coco(root / f"{split}.json")
        write_voc(root / "voc" / split)
    names = "names: [scratch, pit, stain]\nintensity: [10, 200]\n"
    (root / "yolo.yaml").write_text(f"train: images/train\nval: images/val\n{names}")
    sources = {"coco": "train: train.json\nval: val.json", "voc": "train: voc/train\nval: voc/val"}
    roots = "images: {train: images/train, val: images/val}"
    (root / "other.yaml").write_text(f"{sources[kind]}\n{roots}\n{names}")
    yolo, other = make_sets([str(root / "yolo.yaml"), str(root / "other.yaml")], tmp_path / "out")
    assert other.images == {"train": 2, "val": 1, "test": 3}
    assert other.identity == yolo.identity
    assert yaml.safe_load(other.yaml_file.read_text())["intensity"] == [10, 200]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are texts there")
def test_images_whose_names_are_no_utf8_are_written_as_json_has_them(
    make_set: Callable[[dict[str, str | None]], Path], tmp_path: Path
) -> None:
    train = make_set(boards(4, 1)).parent / "images/train"
    folder = train / os.fsdecode(b"f\xfcnf")
    folder.mkdir()
    for image in train.glob("*.png"):
        image.rename(folder / image.name)
    data = load_dataset(train.parents[1])
    index = open_index(split_paths(data, "train"), data["names"], **reading(data))
    with suppress(UserError):
        _write("set", data, tmp_path / "out", index, {"train": [True] * 4}, ["val", "test"])
    written = json.loads((tmp_path / "out/train.json").read_text())
    names = [image["file_name"] for image in written["images"]]
    assert [train / name for name in names] == [Path(path) for path in index.paths]
    assert yaml.safe_load((tmp_path / "out/data.yaml").read_text())["images"]["train"] == str(train)


def test_one_group_cannot_be_split(make_set: Callable[[dict[str, str | None]], Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="one group"):
        make_sets([str(make_set(boards(1, 3)))], tmp_path / "out", group="board")


def test_a_part_of_train_chooses_though_the_data_has_a_test(
    make_set: Callable[[dict[str, str | None]], Path], tmp_path: Path
) -> None:
    data = make_set(boards(10, 3))
    data.write_text(data.read_text() + "test: images/absent\n")
    made = split_training(str(data), tmp_path / "out", 0.2, r"^(board\d+)_", seed=1)
    assert made.images == {"train": 24, "val": 6, "test": 30}
    groups = {split: {name[:7] for name in files_of(made, split)} for split in ("train", "val")}
    assert len(groups["val"]) == 2
    assert not groups["train"] & groups["val"]
    assert load_dataset(made.yaml_file, "test")["test"] == [str(data.parent / "images/val")]


def test_a_share_of_train_trains_and_val_is_all_else(
    make_set: Callable[[dict[str, str | None]], Path], tmp_path: Path
) -> None:
    data = str(make_set(boards(10, 3)))
    made, twin = take_shares([data, data], tmp_path / "out", 0.5, r"^(board\d+)_")
    assert made.images == {"train": 15, "val": 30, "test": 30}
    assert len({name[:7] for name in files_of(made, "train")}) == 5
    assert (twin.identity, twin.name == made.name) == (made.identity, False)
    (whole,) = take_shares([data], tmp_path / "whole", 1)
    assert files_of(whole, "train") == set(boards(10, 3))


def test_a_share_of_a_coco_json_keeps_the_places_of_its_images(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_images(tmp_path / "set/images" / split)
        write_coco(tmp_path / f"set/{split}.json")
    roots = "images: {train: images/train, val: images/val}"
    (tmp_path / "set/data.yaml").write_text(
        f"train: train.json\nval: val.json\n{roots}\nnames: [scratch, pit, stain]\nintensity: [10, 200]\n"
    )
    (made,) = take_shares([str(tmp_path / "set/data.yaml")], tmp_path / "out", 0.7)
    assert made.images == {"train": 2, "val": 3, "test": 3}
    assert files_of(made, "val") == files_of(made, "test")
