"""Folders of classes: what is found, what is refused, what is told."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.classes import write_pictures
from moat_det.data.images.intensity import Intensity
from moat_det.errors import UserError
from moat_det.pretraining.classification.folders import find_classes, find_measured


def test_a_tree_with_train_and_val(pictures: Path) -> None:
    data = find_classes(pictures)
    assert data.names == ["bright", "dark"]
    assert Counter(label for _, label in data.train) == {0: 12, 1: 12}
    assert Counter(label for _, label in data.val) == {0: 4, 1: 4}
    assert all(Path(file).parts[-3:-1] == ("train", data.names[label]) for file, label in data.train)


def test_a_share_of_each_class_is_kept(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "all", 10)
    data = find_classes(folder, share=0.3, seed=1)
    assert Counter(label for _, label in data.val) == {0: 3, 1: 3}
    assert not set(data.train) & set(data.val)
    assert len(data.train) == 14
    assert find_classes(folder, share=0.3, seed=1) == data
    assert find_classes(folder, share=0.3, seed=2).val != data.val


def test_what_was_kept_from_training_is_measured(tmp_path: Path, log: list[str]) -> None:
    folder = write_pictures(tmp_path / "all", 10)
    data = find_classes(folder, share=0.3, seed=1)
    learnt = {"split": 0.3, "seed": 1, **data.contents()}

    def measured(names: list[str]) -> list[tuple[str, str]]:
        log.clear()
        found, _ = find_measured(folder, names, data.intensity, learnt)
        return sorted((file, names[label]) for file, label in found)

    assert measured(data.names) == sorted((file, data.names[label]) for file, label in data.val)
    assert log[-1].endswith("measured on the 6 pictures that --split 0.3 kept from training")

    learnt = {"split": None, "seed": 1, **find_classes(write_pairs(tmp_path, folder)).contents()}
    assert len(measured(data.names)) == 20
    assert "these are the pictures that the classifier learnt" in log[-1]

    learnt = {"split": 0.3, "seed": 1, **data.contents()}
    (folder / "dark" / "00.png").unlink()
    assert len(measured(data.names)) == 19
    assert "these are others than the pictures that --split 0.3 divided" in log[-1]


def test_other_pictures_of_the_same_names_were_not_learnt(tmp_path: Path, log: list[str]) -> None:
    """Of one size, as a camera's are that numbers its files anew in each folder."""
    for number, week in enumerate(("week1", "week2")):
        for name in ("bright", "dark"):
            (tmp_path / week / name).mkdir(parents=True)
            for file in ("0000.bmp", "0001.bmp", "0002.bmp"):
                image = np.full((40, 40), 100 + number, np.uint8)
                cv2.imwrite(str(tmp_path / week / name / file), image)
    first, second = tmp_path / "week1", tmp_path / "week2"
    data = find_classes(first, share=0.4)
    learnt = {"split": 0.4, "seed": 0, **data.contents()}
    assert len(find_measured(first, data.names, data.intensity, learnt)[0]) == 2
    log.clear()
    assert len(find_measured(second, data.names, data.intensity, learnt)[0]) == 6
    assert "these are others than the pictures that --split 0.4 divided" in log[-1]

    learnt = {"split": None, "seed": 0, **find_classes(write_pairs(tmp_path, first)).contents()}
    log.clear()
    assert len(find_measured(second, data.names, data.intensity, learnt)[0]) == 6
    assert not log, "they are not said to be those that were learnt"


def write_pairs(place: Path, folder: Path) -> Path:
    """Write a YAML that learns from a folder, and is measured on it too."""
    (place / "pairs.yaml").write_text(f"train: {folder}\nval: {folder}\n")
    return place / "pairs.yaml"


def test_a_yaml_orders_the_classes(pictures: Path) -> None:
    file = pictures.parent / "data.yaml"
    file.write_text("path: pictures\ntrain: train\nval: val\nnames: [dark, bright]\nintensity: full\n")
    data = find_classes(file)
    assert data.names == ["dark", "bright"]
    assert all(Path(path).parts[-2] == data.names[label] for path, label in data.train)
    assert data.intensity.kind == "full"
    measured, _ = find_measured(file, ["bright", "dark"], data.intensity)
    assert measured == sorted((path, 1 - label) for path, label in data.val)
    file.write_text("path: pictures\ntrain: train\nval: val\nnames: {1: bright, 0: dark}\n")
    assert find_classes(file).train == data.train, "by their numbers, in whatever order they stand"
    file.write_text("path: pictures\ntrain: train\nval: val\nnames: {1: bright, 2: dark}\n")
    with pytest.raises(UserError, match=r"data.yaml: 'names' has 2 classes but no id 0"):
        find_classes(file)


def test_the_range_of_deep_pictures_is_chosen(tmp_path: Path) -> None:
    data = find_classes(write_pictures(tmp_path / "deep", 3, deep=True), share=0.4)
    ((low, high),) = data.intensity.windows
    assert 0 <= low < 20_000 < 40_000 < high <= 65_535


def test_what_is_left_out_is_told(pictures: Path, log: list[str]) -> None:
    (pictures / "train" / "notes.txt").write_text("x")
    (pictures / "train" / "dark" / "thumbs.db").write_text("x")
    (pictures / "train" / "dark" / "broken.png").write_text("no picture")
    assert len(find_classes(pictures).train) == 24
    said = "\n".join(log)
    assert "they lie in no class: 1 .txt" in said
    assert "they are no images: 1 .db" in said
    assert "1 cannot be read and are left out" in said
    assert "broken.png" in said


def change(pictures: Path, fault: str) -> None:
    if fault == "another class":
        (pictures / "val" / "dark").rename(pictures / "val" / "dim")
    elif fault == "an empty class":
        (pictures / "train" / "empty").mkdir()
    elif fault == "a broken class":
        (pictures / "train" / "broken").mkdir()
        (pictures / "train" / "broken" / "a.png").write_text("no picture")
    elif fault == "one class":
        for split in ("train", "val"):
            for file in (pictures / split / "dark").iterdir():
                file.unlink()
            (pictures / split / "dark").rmdir()
    elif fault == "no val":
        (pictures / "val").rename(pictures / "test")
    elif fault == "no split":
        for split in ("train", "val"):
            (pictures / split).rename(pictures / f"{split}ing")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("another class", "other classes: only in train: dark; only in val: dim"),
        ("an empty class", "empty: the class has no picture that can be read"),
        ("a broken class", "broken: the class has no picture that can be read"),
        ("one class", "one class alone, bright"),
        ("no val", "val: there is no such folder"),
        ("no split", "no folders train and val: give --split 0.2"),
    ],
)
def test_faults_end_in_a_line(fault: str, message: str, pictures: Path) -> None:
    change(pictures, fault)
    with pytest.raises(UserError, match=message):
        find_classes(pictures)


@pytest.mark.parametrize(
    ("share", "message"), [(0.2, "--split 0.2: leave it out"), (None, "absent: there is no such folder")]
)
def test_more_faults(share: float | None, message: str, pictures: Path) -> None:
    with pytest.raises(UserError, match=message):
        find_classes(pictures if share else pictures / "absent", share)


def test_a_class_of_one_picture_cannot_be_divided(tmp_path: Path) -> None:
    write_pictures(tmp_path / "all", 3)
    (tmp_path / "all" / "rare").mkdir()
    cv2.imwrite(str(tmp_path / "all" / "rare" / "a.png"), np.zeros((9, 9), np.uint8))
    with pytest.raises(UserError, match="rare: the class has one picture alone"):
        find_classes(tmp_path / "all", 0.5)
    with pytest.raises(UserError, match=r"--split 1.5: must be a share"):
        find_classes(tmp_path / "all", 1.5)


def test_a_validation_needs_the_classifiers_classes(pictures: Path) -> None:
    with pytest.raises(UserError, match="only here: dark; not here: dim"):
        find_measured(pictures, ["bright", "dim"], Intensity())


def test_deep_pictures_of_the_validation_alone_take_the_full_range_of_their_type(
    tmp_path: Path, log: list[str]
) -> None:
    write_pictures(tmp_path / "train", 3)
    write_pictures(tmp_path / "val", 3, deep=True)
    data = find_classes(tmp_path)
    assert data.val_intensity.kind == "full"
    assert find_measured(tmp_path, data.names, data.intensity) == (data.val, data.val_intensity)
    assert sum("6 images have more than 8 bits per sample" in line for line in log) == 2


def test_floating_samples_have_no_full_range(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train", 3)
    write_pictures(tmp_path / "val", 3)
    cv2.imwrite(str(tmp_path / "val" / "dark" / "f.tif"), np.random.default_rng(0).random((9, 9), np.float32))
    with pytest.raises(UserError, match=r"f\.tif: intensity: full has no meaning for floating samples"):
        find_classes(tmp_path)


def test_further_pictures_of_a_file_are_told(pictures: Path, log: list[str]) -> None:
    page = np.zeros((9, 9), np.uint8)
    cv2.imwritemulti(str(pictures / "train" / "dark" / "pages.tif"), [page, page])
    find_classes(pictures)
    assert any("1 hold several pictures, of which the first is taken" in line and "pages.tif" in line for line in log)
