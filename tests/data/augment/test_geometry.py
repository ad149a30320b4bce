"""Every step leaves a box on what it encloses, to a tenth of a pixel."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from ultralytics.cfg import get_cfg
from ultralytics.data.augment import Mosaic as EngineMosaic
from ultralytics.data.augment import RandomFlip

from helpers.datasets import open_dataset
from helpers.drawn import BRIGHT, DARK, boxes_of, check, draw, edges, random_box, sample
from helpers.placing import to_input
from moat_det.data.augment.mixing import CutMix, MixUp
from moat_det.data.augment.mosaic import Mosaic
from moat_det.data.augment.perspective import Perspective
from moat_det.data.augment.quarter_turns import QuarterTurns
from moat_det.data.loader.dataset import DetectionDataset
from moat_det.data.sizes.letterbox import Placement, letterbox
from moat_det.data.sizes.shape import fit_within, shrink_within

seeds = st.integers(0, 2**32 - 1)
sides = st.integers(41, 230)
shapes = st.sampled_from([(96, 96), (64, 256), (192, 64), (160, 128)])


def seed_all(seed: int) -> np.random.Generator:
    random.seed(seed)
    np.random.seed(seed)
    return np.random.default_rng(seed)


class Drawings:
    """What stands in for a dataset: drawings of any size."""

    cache = None

    def __init__(self, seed: int, shapes: list[tuple[int, int]], shape: tuple[int, int] | None) -> None:
        generator = np.random.default_rng(seed)
        self.shape = shape
        self.samples = [(*shape, random_box(generator, *shape)) for shape in shapes]

    def __len__(self) -> int:
        return len(self.samples)

    def partner(self) -> int:
        return random.randrange(len(self))

    def get_image_and_label(self, index: int) -> dict[str, Any]:
        return sample(*self.samples[index]) | {"rect_shape": self.shape}


@settings(deadline=None, max_examples=60)
@given(seeds, sides, sides, shapes, st.sampled_from([0.0, 0.3, 0.5]))
def test_perspective_scales_and_shifts(
    seed: int, height: int, width: int, shape: tuple[int, int], scale: float
) -> None:
    box = random_box(seed_all(seed), height, width)
    labels = Perspective(translate=0.1, scale=scale, size=shape[::-1])(sample(height, width, box))
    assert labels["img"].shape == (*shape, 3)
    check(labels["img"], boxes_of(labels))


@pytest.mark.parametrize(
    ("box", "scale"),
    [((20, 50, 1220, 58), 0.0), ((20, 50, 1220, 52.5), 0.5), ((30, 40, 32, 42), 0.0), ((30, 40, 33, 43), 0.5)],
    ids=["a scratch", "a finer one, scaled", "a pit", "a larger one, scaled"],
)
def test_the_box_of_what_stays_in_the_picture_stays(box: tuple[float, float, float, float], scale: float) -> None:
    for seed in range(20):
        seed_all(seed)
        labels = Perspective(translate=0.0, scale=scale, size=(2560, 160))(sample(160, 1280, box))
        assert len(boxes_of(labels)) == len(labels["cls"]) == 1


@pytest.mark.parametrize(
    ("left", "kept"),
    [((0, 20, 30, 60), True), ((0, 20, 3, 60), False), ((0, 20, 5, 60), True), ((0, 20, 0, 60), False)],
    ids=["all of it", "less than a tenth", "an eighth", "nothing"],
)
def test_the_box_of_what_the_frame_has_cut_off_goes(left: tuple[float, ...], kept: bool) -> None:
    whole = np.array([[0.0, 20.0, 40.0, 60.0]])
    assert Perspective.box_candidates(whole.T, np.array([left]).T).tolist() == [kept]


@settings(deadline=None, max_examples=40)
@given(
    seeds,
    shapes,
    st.sampled_from([{"degrees": 30}, {"shear": 15}, {"perspective": 0.001}, {"degrees": 90, "perspective": 0.01}]),
)
def test_perspective_turns_and_tilts(seed: int, shape: tuple[int, int], kind: dict[str, float]) -> None:
    height, width = shape
    # On a canvas as large as a mosaic's, whose edge stays out of sight.
    x1, y1, x2, y2 = np.add(random_box(seed_all(seed), height, width), [width / 2, height / 2] * 2)
    step = Perspective(translate=0.0, scale=(0.8, 1.0), size=(width, height), **kind)
    labels = sample(2 * height, 2 * width, (x1, y1, x2, y2))
    params = step.get_params(labels)
    corners = np.array([[x1, y1, 1], [x2, y1, 1], [x2, y2, 1], [x1, y2, 1]]) @ params["M"].T
    corners = corners[:, :2] / corners[:, 2:]
    assert np.isfinite(corners).all()
    labels = step.apply_instances(step.apply_image(labels, params), params)
    bounds = [*corners.min(axis=0), *corners.max(axis=0)]
    if corners.min() < 2 or (corners.max(axis=0) > [width - 2, height - 2]).any():
        return
    np.testing.assert_allclose(boxes_of(labels), [bounds], atol=1e-3)
    x1, y1, x2, y2 = (int(value) for value in bounds)
    window = labels["img"][max(y1 - 2, 0) : y2 + 3, max(x1 - 2, 0) : x2 + 3, 0]
    found = np.array([max(x1 - 2, 0), max(y1 - 2, 0)]) + centre((window.astype(float) - DARK) / (BRIGHT - DARK))
    np.testing.assert_allclose(found, centre(fill(corners, height, width)), atol=0.1)


def fill(corners: np.ndarray, height: int, width: int, parts: int = 8) -> np.ndarray:
    """The share of each pixel that a convex polygon covers."""
    y, x = ((np.arange(side * parts) + 0.5) / parts for side in (height, width))
    inside = np.ones((height * parts, width * parts), bool)
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        inside &= (x2 - x1) * (y[:, None] - y1) >= (y2 - y1) * (x - x1)
    return inside.reshape(height, parts, width, parts).mean(axis=(1, 3))


def centre(image: np.ndarray) -> np.ndarray:
    """The centre of what is bright, x and y."""
    weights = image / image.sum()
    y, x = (np.arange(side) + 0.5 for side in image.shape)
    return np.array([weights.sum(axis=0) @ x, weights.sum(axis=1) @ y])


def test_a_strong_tilt_has_no_horizon_in_the_image() -> None:
    image = draw(512, 4096, (100, 100, 140, 140))
    for seed in range(50):
        seed_all(seed)
        matrix, _ = Perspective(perspective=0.001, size=(2048, 256))._compute_affine_matrix(image, (2048, 256))
        corners = np.array([[x, y, 1] for x in (0, 4096) for y in (0, 512)])
        assert (corners @ matrix[2] > 0.1).all()


@settings(deadline=None, max_examples=40)
@given(seeds, shapes, st.lists(st.tuples(sides, sides), min_size=3, max_size=6))
def test_mosaic(seed: int, shape: tuple[int, int], sizes: list[tuple[int, int]]) -> None:
    fitting = [(min(height, shape[0]), min(width, shape[1])) for height, width in sizes]
    drawings = Drawings(seed, fitting, shape)
    seed_all(seed)
    labels = Mosaic(drawings, p=1.0)(drawings.get_image_and_label(0))
    assert labels["img"].shape == (2 * shape[0], 2 * shape[1], 3)
    check(labels["img"], boxes_of(labels), tolerance=0.02)


def test_on_squares_the_mosaic_is_the_engines() -> None:
    for seed in range(10):
        mosaics = []
        for mosaic, shape in ((Mosaic, (96, 96)), (partial(EngineMosaic, imgsz=96), None)):
            drawings = Drawings(seed, [(96, 96), (96, 50), (41, 96), (60, 60)], shape)
            step = mosaic(drawings, p=1.0)
            seed_all(seed)
            step.buffer_enabled = False
            mosaics.append(step(drawings.get_image_and_label(0)))
        np.testing.assert_array_equal(mosaics[0]["img"], mosaics[1]["img"])
        np.testing.assert_array_equal(boxes_of(mosaics[0]), boxes_of(mosaics[1]))


def test_mosaic_compares_most_boxes() -> None:
    compared = boxes = 0
    for seed in range(20):
        drawings = Drawings(seed, [(96, 160)] * 5, (96, 160))
        seed_all(seed)
        labels = Mosaic(drawings, p=1.0)(drawings.get_image_and_label(0))
        boxes += len(boxes_of(labels))
        compared += check(labels["img"], boxes_of(labels), tolerance=0.02)
    assert compared > 0.5 * boxes > 20


@settings(deadline=None, max_examples=30)
@given(seeds, shapes)
def test_mix_up(seed: int, shape: tuple[int, int]) -> None:
    height, width = shape[0], 2 * shape[1]
    drawings, generator = Drawings(seed, [shape], (height, width)), seed_all(seed)
    # Side by side, so that neither hides the other.
    x1, y1, x2, y2 = random_box(generator, *shape)
    drawings.samples = [(height, width, (x1 + shape[1], y1, x2 + shape[1], y2))]
    affine = Perspective(translate=0.0, scale=0.0)
    first = sample(height, width, random_box(generator, *shape)) | {"rect_shape": drawings.shape}
    labels = MixUp(drawings, affine, p=1.0)(affine(first))
    boxes = boxes_of(labels)
    assert labels["img"].shape == (height, width, 3)
    assert len(boxes) == 2
    for box in boxes:
        assert np.abs(edges(labels["img"], box) - box).max() < 0.1


def test_what_cut_mix_cuts_out_lies_where_its_box_says() -> None:
    cut = 0
    for seed in range(60):
        generator = seed_all(seed)
        drawings = Drawings(seed, [(128, 256)], (128, 256))
        drawings.samples = [(128, 256, random_box(generator, 128, 256))]
        bare = sample(128, 256, (20, 20, 40, 40)) | {"rect_shape": drawings.shape}
        bare["img"][:] = 40
        bare["instances"], bare["cls"] = bare["instances"][np.zeros(1, bool)], bare["cls"][:0]
        affine = Perspective(translate=0.0, scale=0.0)
        labels = CutMix(drawings, affine, p=1.0)(affine(bare))
        bright = labels["img"][..., 0] > 130
        if not len(boxes_of(labels)) or not bright.any():
            continue
        rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
        (box,) = boxes_of(labels)
        # Half a pixel is what a threshold tells.
        np.testing.assert_allclose(box, [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], atol=0.51)
        cut += 1
    assert cut > 10


@pytest.mark.parametrize(
    "step", [RandomFlip(1.0, "horizontal"), RandomFlip(1.0, "vertical"), QuarterTurns(1.0)], ids=["lr", "ud", "turn"]
)
@pytest.mark.parametrize("shape", [(97, 97), (61, 204)])
def test_flips_and_quarter_turns(step: Any, shape: tuple[int, int]) -> None:
    for seed in range(10):
        box = random_box(seed_all(seed), *shape)
        labels = step(sample(*shape, box))
        labels["img"] = np.ascontiguousarray(labels["img"])
        assert labels["img"].shape == (*shape, 3)
        assert check(labels["img"], boxes_of(labels), tolerance=0.02) == 1


@settings(deadline=None, max_examples=60)
@given(seeds, sides, sides, shapes, st.booleans(), st.booleans())
def test_letterbox(seed: int, height: int, width: int, shape: tuple[int, int], scaleup: bool, center: bool) -> None:
    box = random_box(seed_all(seed), height, width)
    scaled = fit_within(height, width, shape) if scaleup else shrink_within((height, width), shape)
    image = letterbox(draw(height, width, box), scaled, shape, center)
    place = Placement.of((height, width), scaled, shape, center)
    assert image.shape == (*shape, 3)
    boxes = to_input(place, np.array([box]))
    # In smaller boxes no pixel shows the full brightness, and in a much larger image the soft edge is too wide.
    if (boxes[:, 2:] - boxes[:, :2]).min() > 10 and min(shape[0] / height, shape[1] / width) < 1.8:
        check(image, boxes)
    np.testing.assert_allclose(place.to_image(boxes)[0], box, atol=1e-3)


def write_set(root: Path, seed: int, sizes: list[tuple[int, int]], turned: bool = False) -> Path:
    """A dataset of drawings, half of them JPEGs, stored sideways if `turned`."""
    generator = np.random.default_rng(seed)
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number, (height, width) in enumerate(sizes):
        x1, y1, x2, y2 = box = random_box(generator, height, width)
        picture, exif = Image.fromarray(draw(height, width, box)), Image.Exif()
        if turned:
            picture, exif[274] = picture.transpose(Image.Transpose.ROTATE_90), 6
        name = f"{number}.{'jpg' if number % 2 or turned else 'png'}"
        picture.save(root / "images" / name, exif=exif, quality=98)
        values = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
        (root / "labels" / f"{number}.txt").write_text("0 " + " ".join(f"{value:.8f}" for value in values) + "\n")
    (root / "data.yaml").write_text("train: images\nval: images\nnames: [square]\n")
    return root / "data.yaml"


def open_set(source: Path, shape: tuple[int, int] | None, mode: str, **arguments: Any) -> DetectionDataset:
    given = {"hsv_h": 0, "hsv_s": 0, "hsv_v": 0, "rect": mode == "val", **arguments}
    return open_dataset(source, mode, imgsz=max(shape or (128,)), shape=shape, **given)


def as_labels(item: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """A sample's image (H, W, 3) and boxes, xyxy in pixels."""
    image = np.ascontiguousarray(item["img"].numpy().transpose(1, 2, 0))
    height, width = image.shape[:2]
    x, y, w, h = item["bboxes"].numpy().T
    return image, np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1) * [width, height, width, height]


SIZES = [(101, 203), (64, 256), (150, 300), (256, 512), (57, 140), (130, 131), (240, 121), (128, 400)]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shape", [(64, 256), (160, 160), (224, 128), None])
def test_reading_and_the_letterbox_of_validation(tmp_path: Path, shape: tuple[int, int] | None, turned: bool) -> None:
    compared = 0
    for seed in range(3):
        dataset = open_set(write_set(tmp_path / str(seed), seed, SIZES, turned), shape, "val")
        for item in map(dataset.__getitem__, range(len(dataset))):
            image, boxes = as_labels(item)
            if shape is not None:
                assert image.shape == (*shape, 3)
            # What leads back to the file's pixels in validation.
            back = item["placement"].to_image(boxes)
            known = next(label for label in dataset.labels if label["im_file"] == item["im_file"])
            np.testing.assert_allclose(back, known["boxes_xyxy"], atol=1e-3)
            if (boxes[:, 2:] - boxes[:, :2]).min() > 10:
                compared += check(image, boxes)
    assert compared > 6


@pytest.mark.parametrize("shape", [(64, 256), (160, 160), (224, 128), None])
@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_the_whole_pipeline(tmp_path: Path, shape: tuple[int, int] | None, mosaic: float) -> None:
    settings = {"mosaic": mosaic, "scale": 0.3, "fliplr": 0.5, "flipud": 0.5, "rect": shape is None}
    dataset = open_set(write_set(tmp_path, 0, SIZES), shape, "train", **settings)
    compared = 0
    for epoch in range(6):
        dataset.epoch = epoch
        for index, item in enumerate(map(dataset.__getitem__, range(len(dataset)))):
            image, boxes = as_labels(item)
            assert image.shape == (*(shape or dataset.shapes[index]), 3)
            large = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=99) > 10
            compared += check(image, boxes[large])
    assert compared > 15


def test_samples_of_a_dataset_have_its_shape_with_everything_on(tmp_path: Path) -> None:
    settings = {"mosaic": 0.5, "mixup": 0.5, "cutmix": 0.5, "degrees": 20, "shear": 5, "perspective": 0.001}
    source = write_set(tmp_path, 0, SIZES)
    for shape in ((64, 256), None):
        dataset = open_set(source, shape, "train", rect=shape is None, **settings)
        for index in range(len(dataset)):
            item = dataset[index]
            assert item["img"].shape == (3, *(shape or dataset.shapes[index]))
            assert len(item["bboxes"]) == len(item["cls"])
            assert ((item["bboxes"] >= 0) & (item["bboxes"] <= 1)).all()


def test_closing_the_mosaic_leaves_the_shape(tmp_path: Path) -> None:
    dataset = open_set(write_set(tmp_path, 0, SIZES), (64, 256), "train")
    hyp = SimpleNamespace(**vars(get_cfg()))
    dataset.close_mosaic(hyp)
    assert dataset[0]["img"].shape == (3, 64, 256)
    assert dataset.transforms.transforms[0].transforms[0].p == 0
