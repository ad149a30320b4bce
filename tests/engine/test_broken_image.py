"""Images that break after the split was indexed: training goes on, and says which they were."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.datasets import open_dataset
from moat_det import MOAT
from moat_det.data.loader.broken import BrokenImages
from moat_det.data.loader.dataset import DetectionDataset
from moat_det.data.loader.loader import make_loader
from moat_det.errors import UserError

DELETE: Callable[[Path], None] = Path.unlink


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


@pytest.fixture
def copied(demo: Path, tmp_path: Path) -> Path:
    """A copy of the demo set that the test may break."""
    shutil.copytree(demo.parent, tmp_path / "demo")
    source = tmp_path / "demo" / demo.name
    source.write_text(source.read_text().replace(str(demo.parent), str(source.parent)))
    return source


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    """Where the engine's logger writes, in workers too."""
    handler = logging.FileHandler(tmp_path / "log.txt")
    logging.getLogger("moat_det").addHandler(handler)
    yield tmp_path / "log.txt"
    logging.getLogger("moat_det").removeHandler(handler)


def open_set(source: Path, mode: str, on_broken: Any, **settings: Any) -> DetectionDataset:
    return open_dataset(source, mode, on_broken=on_broken, **{"rect": mode == "val", **settings})


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("damage", [DELETE, cut])
def test_training_goes_on_and_names_the_broken_ones_once(
    copied: Path, model_yaml: Path, tmp_path: Path, damage: Callable[[Path], None], workers: int, log_file: Path
) -> None:
    model = MOAT(str(model_yaml))
    images = sorted((copied.parent / "images/train").iterdir())
    judged = sorted((copied.parent / "images/val").iterdir())[0]

    def break_two(trainer: Any) -> None:
        damage(images[3])
        damage(judged)

    model.add_callback("on_train_start", break_two)
    words = {"imgsz": 64, "batch": 8, "plots": False, "workers": workers, "project": str(tmp_path), "epochs": 2}
    model.train(data=str(copied), **words)
    lines = log_file.read_text().splitlines()
    for path, split, total in ((images[3], "train", 24), (judged, "val", 12)):
        assert sum(f"broken image: {path}: " in line for line in lines) == 1
        assert sum(f"1 of {total} images are broken: {path}" in line for line in lines) == 1, split
    assert len((tmp_path / "train/results.csv").read_text().splitlines()) == 3


def test_the_validation_in_training_sees_a_gray_image_of_the_known_size(copied: Path) -> None:
    dataset = open_set(copied, "val", "gray")
    whole = [dataset[i] for i in range(3)]
    Path(dataset.im_files[1]).unlink()
    found = [dataset[i] for i in range(3)]
    for before, after in zip(whole, found, strict=True):
        assert torch.equal(before["bboxes"], after["bboxes"])
        assert before["ori_shape"] == after["ori_shape"]
        assert before["img"].shape == after["img"].shape
    assert (found[1]["img"] == 114).all()
    assert torch.equal(found[2]["img"], whole[2]["img"])


def test_validation_alone_refuses(copied: Path) -> None:
    dataset = open_set(copied, "val", "refuse")
    Path(dataset.im_files[1]).unlink()
    with pytest.raises(UserError, match=f"^{dataset.im_files[1]}: No such file.*; replace the image"):
        dataset[1]


@pytest.mark.parametrize("settings", [{"mosaic": 1.0}, {"mosaic": 0.0}, {"mosaic": 0.0, "rect": True}])
def test_a_broken_image_takes_part_nowhere(copied: Path, settings: dict[str, Any]) -> None:
    dataset = open_set(copied, "train", "replace", **settings)
    Path(dataset.im_files[5]).unlink()
    for epoch in range(2):
        dataset.epoch = epoch
        samples = [dataset[i] for i in range(len(dataset))]
    assert dataset.im_files[5] not in {sample["im_file"] for sample in samples}
    assert 5 in dataset.images.broken
    assert all(len(sample["cls"]) == len(sample["bboxes"]) for sample in samples)


def test_its_replacement_differs_between_epochs(copied: Path) -> None:
    dataset = open_set(copied, "train", "replace", mosaic=0.0)
    Path(dataset.im_files[5]).unlink()
    drawn = set()
    for epoch in range(6):
        dataset.epoch = epoch
        drawn.add(dataset[5]["im_file"])
    assert len(drawn) > 2


def test_a_replacement_has_the_shape_of_its_batch(copied: Path) -> None:
    from PIL import Image

    for number, path in enumerate(sorted((copied.parent / "images/train").iterdir())):
        Image.fromarray(np.zeros((96, 48 if number % 2 else 96, 3), np.uint8)).save(path)
    dataset = open_set(copied, "train", "replace", rect=True, mosaic=0.0)
    Path(dataset.im_files[0]).unlink()
    shapes = [batch["img"].shape[2:] for batch in make_loader(dataset, 0, torch.device("cpu"))]
    assert len(set(shapes)) == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_broken_images_stop_it(copied: Path, workers: int) -> None:
    dataset = open_set(copied, "train", "replace")
    for path in dataset.im_files[:12]:
        Path(path).unlink()
    with pytest.raises(UserError, match=r"^11 of 24 images can no longer be read, the last is .*: No such file"):
        list(make_loader(dataset, workers, torch.device("cpu"), shuffle=True))


def test_a_small_set_without_any_image_left_stops_too(copied: Path) -> None:
    dataset = open_set(copied, "train", "replace", fraction=5)
    for path in dataset.im_files:
        Path(path).unlink()
    with pytest.raises(UserError, match="none of the images can be read any more"):
        dataset[0]


def test_new_ones_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    broken = BrokenImages(400)
    files = [f"{i}.png" for i in range(400)]
    told = []
    for new in ([], [7], [], [3, 9, 11, 12, 13, 14], []):
        for index in new:
            broken.add(index, f"{index}.png: cut")
            broken.add(index, f"{index}.png: cut")
        caplog.clear()
        broken.report(files)
        told.append(caplog.messages)
    assert told == [
        [],
        ["WARNING ⚠️ 1 of 400 images are broken: 7.png"],
        [],
        ["WARNING ⚠️ 7 of 400 images are broken: 3.png, 7.png, 9.png, 11.png, 12.png and 2 more"],
        [],
    ]
