from __future__ import annotations

import inspect
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from ultralytics.cfg import get_cfg
from ultralytics.data.build import build_dataloader, build_yolo_dataset
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.models.yolo.detect import DetectionTrainer

from helpers.dataset_files import HEIGHT, WIDTH, noise
from helpers.datasets import open_dataset
from moat_det.data.config import load_dataset
from moat_det.data.loader.dataset import DatasetOptions, DetectionDataset
from moat_det.errors import UserError

BOX = "1 0.5 0.5 0.25 0.5\n"
FILES = {f"{i}.png": f"{i % 3} 0.5 0.5 0.25 0.5\n" for i in range(6)}
MakeSet = Callable[[dict[str, str | None]], Path]


def rounded(row: list[float]) -> list[int]:
    return [round(value) for value in row]


def open_set(source: Path, mode: str = "train", rect: bool = False, **settings: Any) -> DetectionDataset:
    return open_dataset(source, mode, rect=rect, **settings)


def contents(root: Path) -> dict[str, tuple[bytes, int]]:
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in root.rglob("*") if p.is_file()}


def test_the_users_files_stay_as_they_are(make_set: MakeSet) -> None:
    source = make_set({**FILES, "cut.jpg": BOX, "whole.jpg": BOX})
    for split in ("train", "val"):
        folder = source.parent / "images" / split
        whole = (folder / "whole.jpg").read_bytes()
        (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
        (folder / "whole.jpg").write_bytes(whole + b"trailing")
        (folder / "0.npy").write_bytes(b"the user's own")
        np.save(folder / "1.npy", np.zeros((HEIGHT, WIDTH), np.uint16))
    before = contents(source.parent)
    for mode, rect, cache in (
        ("train", False, False),
        ("train", False, "ram"),
        ("train", False, "disk"),
        ("val", True, False),
    ):
        dataset = open_set(source, mode, rect, cache=cache)
        for i in range(len(dataset)):
            dataset[i]
        assert contents(source.parent) == before


def test_arrays_beside_the_images_are_not_taken_for_them(make_set: MakeSet) -> None:
    source = make_set(FILES)
    np.save(source.parent / "images/val/0.npy", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    image = open_set(source, "val").images.load(0)[0]
    assert image.mean() > 50


@pytest.mark.parametrize("rect", [False, True])
@pytest.mark.parametrize(("name", "imgsz"), [("smoke_neu", 224), ("bccd", 640)])
def test_evaluation_batches_equal_the_engines_on_a_clean_set_where_no_image_shrinks(
    shared: Path, tmp_path: Path, name: str, imgsz: int, rect: bool
) -> None:
    for part in ("images/val", "labels/val"):  # a copy, as the engine writes a cache
        shutil.copytree(shared / "datasets" / name / part, tmp_path / part)
    data = load_dataset(shared / "datasets" / name)
    args = get_cfg(overrides={"imgsz": imgsz})
    ours = open_dataset({**data, "val": str(tmp_path / "images/val")}, "val", 8, imgsz=imgsz, rect=rect)
    theirs = build_yolo_dataset(args, str(tmp_path / "images/val"), 8, data, "val", rect)
    # The engine sorts by aspect, and of equal ones each processor puts others first.
    assert sorted(ours.im_files) == sorted(theirs.im_files)
    for i in range(0, len(ours), 7):
        mine, engines = ours[i], theirs[theirs.im_files.index(ours.im_files[i])]
        assert mine.keys() - {"placement"} == engines.keys() - {"ratio_pad"}
        # The engine pads its rectangles by half a stride more.
        height, width = mine["img"].shape[1:]
        rows, columns = engines["img"].shape[1:]
        assert (rows > height and columns > width) if rect else (rows, columns) == (height, width)
        top, left = (rows - height) // 2, (columns - width) // 2
        assert torch.equal(mine["img"], engines["img"][:, top : top + height, left : left + width])
        theirs_here = engines["bboxes"].double() * torch.tensor([columns, rows, columns, rows])
        theirs_here = (theirs_here - torch.tensor([left, top, 0, 0])) / torch.tensor([width, height, width, height])
        found = torch.hstack([mine["cls"], mine["bboxes"]]).tolist()
        expected = torch.hstack([engines["cls"], theirs_here]).tolist()
        np.testing.assert_allclose(sorted(found), sorted(expected), atol=1e-6)


@pytest.mark.parametrize("name", ["smoke_neu", "deeppcb", "hripcb_mini", "bccd"])
@pytest.mark.parametrize("rect", [False, True])
def test_boxes_in_pixels_equal_the_sets_coco_file(shared: Path, name: str, rect: bool) -> None:
    root = shared / "datasets" / name
    coco = json.loads((root / "annotations/instances_val.json").read_text())
    expected: dict[int, list[list[float]]] = {image["id"]: [] for image in coco["images"]}
    for note in coco["annotations"]:
        expected[note["image_id"]].append([note["category_id"], *note["bbox"]])
    first = min(category["id"] for category in coco["categories"])
    sizes = {image["file_name"]: image for image in coco["images"]}
    dataset = open_set(root, "val", rect)
    assert len(dataset) == len(coco["images"])
    for label, file in zip(dataset.labels, dataset.im_files, strict=True):
        image = sizes[Path(file).name]
        assert label["im_file"] == file
        assert label["shape"] == (image["height"], image["width"])
        assert label["boxes_xyxy"].dtype == np.float64
        low, high = label["boxes_xyxy"][:, :2], label["boxes_xyxy"][:, 2:]
        found = np.hstack([label["cls"] + first, low, high - low]).tolist()
        np.testing.assert_allclose(sorted(found, key=rounded), sorted(expected[image["id"]], key=rounded), atol=0.02)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_training_epoch_of_gray_and_colour_images(make_set: MakeSet, workers: int) -> None:
    source = make_set(FILES)
    for i in range(3):
        noise(seed=i).convert("L").save(source.parent / f"images/train/{i}.png")
    dataset = open_set(source)
    batches = list(build_dataloader(dataset, 4, workers, device="cpu"))
    assert [batch["img"].shape for batch in batches] == [(4, 3, 64, 64), (2, 3, 64, 64)]
    assert all(batch["img"].dtype == torch.uint8 for batch in batches)
    for batch in batches:
        assert len(batch["batch_idx"]) == len(batch["cls"]) == len(batch["bboxes"])
        assert len(batch["im_file"]) == len(batch["img"])


def test_a_turned_image_and_its_boxes_stay_together(make_set: MakeSet) -> None:
    source = make_set({"a.jpg": "0 0.25 0.75 0.5 0.5\n", "b.jpg": None})
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[HEIGHT // 2 :, WIDTH // 2 :] = 255  # lies bottom left once turned clockwise
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(image).save(source.parent / "images/val/a.jpg", exif=exif)
    dataset = open_set(source, "val")
    assert dataset.labels[0]["shape"] == (WIDTH, HEIGHT)
    assert dataset.labels[0]["boxes_xyxy"].tolist() == [[0, WIDTH / 2, HEIGHT / 2, WIDTH]]
    item = dataset[0]
    height, width = item["img"].shape[1:]
    x, y, w, h = (item["bboxes"][0] * torch.tensor([width, height, width, height])).round().int().tolist()
    inside = item["img"][:, y - h // 2 + 2 : y + h // 2 - 2, x - w // 2 + 2 : x + w // 2 - 2]
    assert inside.float().mean() > 250


def test_rectangles_keep_the_sizes_beside_the_right_images(make_set: MakeSet) -> None:
    source = make_set({"a.png": BOX, "b.png": BOX, "c.png": None})
    noise(90, 30).save(source.parent / "images/val/a.png")
    dataset = open_set(source, "val", rect=True)
    assert [(Path(label["im_file"]).name, label["shape"]) for label in dataset.labels] == [
        ("b.png", (HEIGHT, WIDTH)),
        ("c.png", (HEIGHT, WIDTH)),
        ("a.png", (90, 30)),
    ]


def test_classes_are_filtered_in_every_form_of_the_boxes(make_set: MakeSet) -> None:
    source = make_set({"a.png": "0 0.2 0.5 0.1 0.1\n2 0.8 0.5 0.1 0.1\n1 0.5 0.5 0.1 0.1\n", "b.png": BOX})
    dataset = open_set(source, "val", classes=[1, 2])
    assert [label["cls"].ravel().tolist() for label in dataset.labels] == [[2, 1], [1]]
    np.testing.assert_allclose(dataset.labels[0]["boxes_xyxy"][:, 0] / WIDTH, [0.75, 0.45])
    dataset = open_set(source, "val", classes=[1, 2], single_cls=True)
    assert [label["cls"].ravel().tolist() for label in dataset.labels] == [[0, 0], [0]]
    with pytest.raises(UserError, match=r"no box of the classes \[7\]"):
        open_set(source, "train", classes=[7])


def test_single_cls_accepts_ids_past_the_names(make_set: MakeSet) -> None:
    source = make_set({"a.png": "17 0.5 0.5 0.1 0.1"})
    assert open_set(source, single_cls=True).labels[0]["cls"].tolist() == [[0]]
    with pytest.raises(UserError, match=r"a\.txt, line 1: class id 17"):
        open_set(source)


@pytest.mark.parametrize(
    ("fraction", "train", "val"),
    [(1.0, 6, 6), (0.5, 3, 6), (0.01, 1, 6), (2, 2, 6), (99, 6, 6), ([0.5, 0.5], 3, 3)],
)
def test_a_fraction_takes_the_first_images(make_set: MakeSet, fraction: Any, train: int, val: int) -> None:
    source = make_set(FILES)
    assert [Path(f).name for f in open_set(source, fraction=fraction).im_files] == list(FILES)[:train]
    assert len(open_set(source, "val", fraction=fraction)) == val


def test_a_fraction_of_nothing_is_refused(make_set: MakeSet) -> None:
    with pytest.raises(UserError, match="leaves no image of 'test'"):
        open_set(make_set(FILES), "test", fraction=[1, 1, 0])


@pytest.mark.parametrize("text", [None, "", "0 0.5 0.5 0 0\n"])
def test_training_needs_a_box_and_evaluation_does_not(make_set: MakeSet, text: str | None) -> None:
    source = make_set({"a.png": text, "b.png": text})
    with pytest.raises(UserError, match=r"none of its 2 images has a box .*labels/train/a\.txt"):
        open_set(source, "train")
    dataset = open_set(source, "val", rect=True)
    assert dataset[0]["bboxes"].shape == (0, 4)
    assert dataset.index.report.backgrounds == 2


def test_backgrounds_train_among_labelled_images(make_set: MakeSet) -> None:
    dataset = open_set(make_set({"a.png": BOX, "b.png": None, "c.png": ""}))
    assert len([dataset[i] for i in range(3)]) == 3


def test_an_image_that_breaks_later_is_named(make_set: MakeSet) -> None:
    source = make_set(FILES)
    dataset = open_set(source, "val")
    broken = source.parent / "images/val/3.png"
    broken.write_bytes(b"no image")
    with pytest.raises(UserError, match=f"^{broken}: it cannot be decoded") as caught:
        dataset[3]
    assert "\n" not in str(caught.value)
    broken.unlink()
    with pytest.raises(UserError, match=f"{broken}: No such file"):
        list(build_dataloader(dataset, 2, workers=2, shuffle=False, device="cpu"))


def test_an_unreadable_image_is_left_out(make_set: MakeSet) -> None:
    source = make_set(FILES)
    (source.parent / "images/train/3.png").write_bytes(b"no image")
    dataset = open_set(source)
    assert [Path(f).name for f in dataset.im_files] == ["0.png", "1.png", "2.png", "4.png", "5.png"]
    assert [label["im_file"] for label in dataset.labels] == dataset.im_files


def test_deep_images_are_counted_once(make_set: MakeSet, log: list[str]) -> None:
    source = make_set(FILES)
    for i in range(3):
        cv2.imwrite(str(source.parent / f"images/val/{i}.png"), np.full((HEIGHT, WIDTH), 200 << 8, np.uint16))
    open_set(source, "val")
    assert sum("3 images have more than 8 bits per sample; 'intensity'" in message for message in log) == 1
    assert sum("3 images have more than 8 bits per sample, those of the training had 8" in m for m in log) == 1


def test_labels_are_found_behind_a_linked_folder(make_set: MakeSet, tmp_path: Path) -> None:
    source = make_set(FILES)
    (source.parent / "images/train").rename(tmp_path / "elsewhere")
    (source.parent / "images/train").symlink_to(tmp_path / "elsewhere")
    assert open_set(source).index.report.labelled == 6


@pytest.mark.parametrize(
    ("said", "cache"), [(True, "ram"), ("RAM", "ram"), ("disk", "disk"), (False, None), (None, None)]
)
def test_the_words_for_a_cache(said: Any, cache: str | None) -> None:
    assert DatasetOptions.of(get_cfg(overrides={"cache": said}), batch=4).cache == cache


def test_the_engine_asks_a_dataset_for_nothing_that_ours_lacks(make_set: MakeSet) -> None:
    source = inspect.getsource(BaseTrainer) + inspect.getsource(DetectionTrainer)
    asked = set(re.findall(r"dataset\.(\w+)", source))
    # `mosaic` is asked for by `hasattr`, `batch_shapes` in the loader that we replace.
    assert asked == {"close_mosaic", "labels", "mosaic", "batch_shapes"}
    dataset = open_set(make_set(FILES))
    assert callable(dataset.close_mosaic)
    assert {"cls", "bboxes"} <= dataset.labels[0].keys()
