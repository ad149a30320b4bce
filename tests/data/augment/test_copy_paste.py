from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from ultralytics.cfg import get_cfg

from helpers.datasets import open_dataset
from moat_det.data.augment import load_preset
from moat_det.data.augment.copy_paste import class_shares
from moat_det.data.loader.dataset import DetectionDataset
from moat_det.data.seeds import seeded

SIDE = 160
GROUND, DARK, BRIGHT = 120, 40, 220
# Class 0 is common and dark, class 1 rare and bright; (class, x1, y1, x2, y2) in pixels.
DEFECTS = [(0, 20 + 5 * i, 30, 32 + 5 * i, 48) for i in range(8)] + [(1, 60, 70, 84, 80), (1, 100, 90, 120, 100)]
MakeParts = Callable[..., Path]


@pytest.fixture
def make_parts(tmp_path: Path) -> MakeParts:
    """Write a set of synthetic parts: an image for each list of defects."""

    def make(parts: list[list[tuple[int, ...]]], height: int = SIDE, width: int = SIDE, bands: int = 1) -> Path:
        for i, defects in enumerate(parts):
            random = np.random.default_rng(i)
            image = random.integers(GROUND - 2, GROUND + 3, (height, width, bands)).astype(np.uint8)
            lines = []
            for cls, x1, y1, x2, y2 in defects:
                image[y1:y2, x1:x2] = (DARK, BRIGHT)[cls % 2]
                shares = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
                lines.append(" ".join(map(str, (cls, *shares))))
            for split in ("train", "val"):
                file = tmp_path / "images" / split / f"{i:02}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                if bands == 1:
                    Image.fromarray(image[..., 0]).save(file)
                else:
                    np.save(file.with_suffix(".npy"), image)
                label = tmp_path / "labels" / split / f"{i:02}.txt"
                label.parent.mkdir(parents=True, exist_ok=True)
                label.write_text("\n".join(lines))
        names = "names: [scratch, pit, crack]"
        ending = "png" if bands == 1 else "npy"
        listing = [str(tmp_path / "images" / "train" / f"{i:02}.{ending}") for i in range(len(parts))]
        (tmp_path / "train.txt").write_text("\n".join(listing))
        extra = "" if bands == 1 else f"\nchannels: {bands}"
        (tmp_path / "data.yaml").write_text(f"train: train.txt\nval: train.txt\n{names}{extra}\n")
        return tmp_path / "data.yaml"

    return make


def open_parts(source: Path, p: float = 1.0, **settings: Any) -> DetectionDataset:
    return open_dataset(source, **{"imgsz": SIDE, **load_preset("none").engine, "copy_paste": p, **settings})


def single(dataset: DetectionDataset, index: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image, its classes and its boxes, xyxy in pixels, as a mosaic would get them."""
    with seeded(seed):
        sample = dataset.get_image_and_label(index)
    height, width = sample["img"].shape[:2]
    sample["instances"].convert_bbox("xyxy")
    sample["instances"].denormalize(width, height)
    return sample["img"], sample["cls"][:, 0], sample["instances"].bboxes


GOOD: list[tuple[int, ...]] = []
PARTS = [*([defect] for defect in DEFECTS), GOOD, GOOD]


@pytest.mark.parametrize(("height", "width", "bands"), [(SIDE, SIDE, 1), (96, 208, 1), (SIDE, SIDE, 5)])
def test_a_pasted_defect_is_where_its_box_says_and_nothing_else_changes(
    make_parts: MakeParts, height: int, width: int, bands: int
) -> None:
    source = make_parts([*([(0, 30, 30, 42, 54)] for _ in range(3)), GOOD], height, width, bands)
    dataset = open_parts(source, shape=(height, width), imgsz=max(height, width))
    plain = dataset.images.load(3)[0].copy()
    places = set()
    for seed in range(30):
        image, classes, boxes = single(dataset, 3, seed)
        assert classes.tolist() == [0]
        assert image.dtype == np.uint8
        assert image.shape == (height, width, bands)
        x1, y1, x2, y2 = boxes[0].tolist()
        assert 12 * 0.75 < x2 - x1 < 12 * 1.3
        assert 24 * 0.75 < y2 - y1 < 24 * 1.3
        assert x1 >= 0
        assert y1 >= 0
        assert x2 <= width
        assert y2 <= height
        dark = np.clip((GROUND - image[..., 0].astype(float)) / (GROUND - DARK), 0, 1)
        dark[dark < 0.1] = 0  # the ground's noise
        ys, xs = (np.arange(side) + 0.5 for side in (height, width))
        total = dark.sum()
        assert total == pytest.approx((x2 - x1) * (y2 - y1), rel=0.03)
        assert (dark.sum(axis=0) * xs).sum() / total == pytest.approx((x1 + x2) / 2, abs=0.1)
        assert (dark.sum(axis=1) * ys).sum() / total == pytest.approx((y1 + y2) / 2, abs=0.1)
        margin = 10  # 3 + 0.25 * 18, scaled by 1.25 at most
        changed = np.nonzero((image != plain).any(axis=2))
        assert changed[0].min() >= y1 - margin
        assert changed[0].max() < y2 + margin
        assert changed[1].min() >= x1 - margin
        assert changed[1].max() < x2 + margin
        places.add((round(x1), round(y1)))
    assert len(places) > 20
    assert np.array_equal(dataset.images.load(3)[0], plain)


def test_what_an_image_has_stays_and_is_not_covered(make_parts: MakeParts) -> None:
    dataset = open_parts(make_parts([*PARTS[:8], [(0, 40, 40, 60, 60), (1, 100, 20, 130, 40)]]))
    dataset.labels[8]["ignored_xyxy"] = np.array([[0.0, 90.0, 160.0, 160.0]])
    own = np.array([[40, 40, 60, 60], [100, 20, 130, 40]])
    pasted = 0
    for seed in range(40):
        _, classes, boxes = single(dataset, 8, seed)
        assert classes[:2].tolist() == [0, 1]
        np.testing.assert_allclose(boxes[:2], own, atol=1e-3)
        for x1, y1, x2, y2 in boxes[2:]:
            pasted += 1
            assert y2 <= 90
            for left, top, right, bottom in own:
                assert x2 <= left or x1 >= right or y2 <= top or y1 >= bottom
    assert pasted > 20


def test_classes_are_drawn_as_documented(make_parts: MakeParts) -> None:
    np.testing.assert_allclose(class_shares([900, 100]), [0.25, 0.75])
    dataset = open_parts(make_parts(PARTS))
    classes = [cls for seed in range(250) for cls in single(dataset, 10, seed)[1].tolist()]
    assert len(classes) == 250
    expected = class_shares([8, 2])[1]
    assert expected == pytest.approx(2 / 3)
    assert np.mean(classes) == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 250))


def test_good_parts_are_preferred(make_parts: MakeParts) -> None:
    dataset = open_parts(make_parts(PARTS), p=0.6)
    counts = [sum(len(single(dataset, i, seed)[1]) for seed in range(150)) for i in (10, 0)]
    assert counts[0] / 150 == pytest.approx(0.6, abs=0.16)
    assert (counts[1] - 150) / 150 == pytest.approx(0.3, abs=0.16)
    without = open_parts(make_parts(PARTS[:10]), p=0.6)
    assert sum(len(single(without, 0, seed)[1]) - 1 for seed in range(150)) / 150 == pytest.approx(0.6, abs=0.16)


def test_defects_that_go_on_beyond_the_edge_or_touch_others_are_not_cut(make_parts: MakeParts) -> None:
    cut_off = (1, 0, 50, 20, 60)
    touching = [(1, 60, 60, 70, 70), (1, 72, 60, 82, 70)]
    huge = (1, 10, 10, 140, 140)
    dataset = open_parts(make_parts([[DEFECTS[0]], [cut_off], touching, [huge], GOOD]))
    found = [cls for seed in range(60) for cls in single(dataset, 4, seed)[1].tolist()]
    assert len(found) == 60
    assert set(found) == {0}


def test_defects_go_where_it_looks_like_where_they_were(make_parts: MakeParts) -> None:
    source = make_parts([[(0, 20, 70, 32, 82)], [(0, 120, 70, 132, 82)], GOOD])
    for file in (source.parent / "images/train").iterdir():
        image = np.asarray(Image.open(file)).copy()
        image[:, SIDE // 2 :] //= 2
        Image.fromarray(image).save(file)
    dataset = open_parts(source)
    sides = set()
    for seed in range(40):
        image, _, boxes = single(dataset, 2, seed)
        if len(boxes):
            x1, y1, x2, y2 = boxes[0].round().astype(int).tolist()
            depth = int(image[y1 - 3, (x1 + x2) // 2, 0]) - int(image[(y1 + y2) // 2, (x1 + x2) // 2, 0])
            dark_side = x1 > SIDE // 2
            sides.add(dark_side)
            assert depth == pytest.approx(40 if dark_side else 80, abs=8)  # each keeps its own contrast
    assert sides == {False, True}


def test_a_smooth_patch_is_not_put_on_a_rough_surface(make_parts: MakeParts) -> None:
    source = make_parts([[DEFECTS[0]], GOOD, GOOD])
    rough = np.random.default_rng(0).normal(GROUND, 15, (SIDE, SIDE)).clip(0, 255).astype(np.uint8)
    Image.fromarray(rough).save(source.parent / "images/train/02.png")
    dataset = open_parts(source)
    assert all(len(single(dataset, 1, seed)[1]) == 1 for seed in range(10))
    assert not any(len(single(dataset, 2, seed)[1]) for seed in range(10))


def test_an_image_without_room_stays_as_it_is(make_parts: MakeParts) -> None:
    dataset = open_parts(make_parts([[DEFECTS[0]], [(0, 0, 0, 160, 80), (0, 0, 80, 160, 160)]]))
    plain = dataset.images.load(1)[0]
    image, classes, _ = single(dataset, 1)
    assert len(classes) == 2
    assert np.array_equal(image, plain)


@pytest.mark.parametrize("imgsz", [8, 32, 64])
def test_defects_that_shrink_to_nothing_are_left_alone(make_parts: MakeParts, imgsz: int) -> None:
    dataset = open_parts(make_parts([[(0, 30, 30, 34, 33)], [(1, 60, 60, 90, 62)], GOOD]), imgsz=imgsz)
    for seed in range(40):
        _, classes, boxes = single(dataset, 2, seed)
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert len(classes) == 0 or imgsz == 64


@pytest.mark.parametrize(("fliplr", "flipud"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5)])
def test_defects_are_mirrored_where_images_are(make_parts: MakeParts, fliplr: float, flipud: float) -> None:
    source = make_parts([[(0, 60, 60, 80, 80)], GOOD])
    file = source.parent / "images/train/00.png"
    image = np.asarray(Image.open(file)).copy()
    image[60:70, 60:70] = BRIGHT  # the defect's top left quarter
    Image.fromarray(image).save(file)
    dataset = open_parts(source, fliplr=fliplr, flipud=flipud)
    corners = set()
    for seed in range(20):
        image, _, boxes = single(dataset, 1, seed)
        x1, y1, x2, y2 = boxes[0]
        middle_x, middle_y = round((x1 + x2) / 2), round((y1 + y2) / 2)
        quarters = [image[middle_y + dy, middle_x + dx, 0] for dy in (-4, 3) for dx in (-4, 3)]
        corners.add(int(np.argmax(quarters)))
    assert corners == {0, 1 if fliplr else 0, 2 if flipud else 0}


def test_with_mosaic_caches_and_a_broken_source(make_parts: MakeParts) -> None:
    source = make_parts(PARTS)
    for settings in ({"mosaic": 1.0}, {"mosaic": 1.0, "cache": "ram"}, {"rect": True}):
        dataset = open_parts(source, **settings)
        first = [dataset[i] for i in range(len(dataset))]
        again = [dataset[i] for i in range(len(dataset))]  # pasting has not changed what is kept in memory
        assert all(torch.equal(a["img"], b["img"]) for a, b in zip(first, again, strict=True))
        pasted = sum(len(item["cls"]) for item in first)
        dataset.close_mosaic(get_cfg(overrides=load_preset("none").engine))
        assert sum(len(dataset[i]["cls"]) for i in range(len(dataset))) == 10 < pasted
    dataset = open_parts(source, on_broken="replace")
    (source.parent / "images/train/08.png").unlink()
    (source.parent / "images/train/09.png").unlink()  # all of class 1
    assert {cls for seed in range(20) for cls in single(dataset, 10, seed)[1].tolist()} == {0.0}
