from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ultralytics.data.augment import LetterBox

from helpers.dataset_files import noise
from helpers.datasets import open_dataset
from helpers.placing import to_input
from moat_det.data.loader.dataset import DetectionDataset
from moat_det.data.loader.loader import Loader, make_loader
from moat_det.data.sizes.letterbox import Placement, letterbox
from moat_det.data.sizes.shape import MOST_PIXELS, fit_within, median_shape, round_up, shrink_within

sides = st.integers(1, 3000)
TALL, WIDE, SQUARE = (96, 32), (24, 96), (64, 64)


@given(sides, sides, st.integers(32, 2048), st.integers(32, 2048))
def test_an_image_fits_as_the_letterbox_scales_it(height: int, width: int, rows: int, columns: int) -> None:
    fitted = fit_within(height, width, (rows, columns))
    assert 1 <= fitted[0] <= rows
    assert 1 <= fitted[1] <= columns
    assert rows in (fitted[0], fitted[0] + 1) or columns in (fitted[1], fitted[1] + 1)
    empty = {"img": np.zeros((height, width, 0))}
    assert LetterBox((rows, columns)).get_params(empty)["new_unpad"] == fitted[::-1]


@given(sides, sides, st.integers(32, 2048), st.integers(32, 2048), st.booleans(), st.booleans())
def test_an_image_lies_where_the_engines_letterbox_puts_it(
    height: int, width: int, rows: int, columns: int, scaleup: bool, center: bool
) -> None:
    shape, empty = (rows, columns), {"img": np.zeros((height, width, 0))}
    engine = LetterBox(shape, scaleup=scaleup, center=center).get_params(empty)
    scaled = fit_within(height, width, shape) if scaleup else shrink_within((height, width), shape)
    place = Placement.of((height, width), scaled, shape, center)
    assert scaled == engine["new_unpad"][::-1]
    assert (place.top, place.left) == (engine["top"], engine["left"])
    assert (place.scale_y, place.scale_x) == (scaled[0] / height, scaled[1] / width)
    assert scaled[0] + engine["top"] + engine["bottom"] == rows
    assert scaled[1] + engine["left"] + engine["right"] == columns
    boxes = np.array([[0.0, 0.0, width, height], [1.5, 2.5, 3.0, 4.0]])
    inside = to_input(place, boxes)
    np.testing.assert_allclose(inside[0], [place.left, place.top, place.left + scaled[1], place.top + scaled[0]])
    np.testing.assert_allclose(place.to_image(inside), boxes, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("center", [True, False])
def test_the_letterbox_pads_as_the_engines(channels: int, center: bool) -> None:
    for height, width in ((64, 64), (63, 60), (61, 64), (1, 64), (64, 33)):
        image = np.random.default_rng(height).integers(0, 255, (height, width, channels), np.uint8)
        expected = LetterBox((64, 64), scaleup=False, center=center)(image=image)
        np.testing.assert_array_equal(letterbox(image, (height, width), (64, 64), center), expected)


@pytest.mark.parametrize(
    ("sizes", "expected", "words"),
    [
        ([(200, 200)] * 3, (224, 224), "the median of 3 training images is 200 x 200"),
        ([(250, 2000), (256, 2048), (300, 2100)], (256, 2048), "256 x 2048"),
        ([(100, 300), (200, 300)], (160, 320), "150 x 300"),
        ([(10, 20)], (32, 32), "10 x 20"),
        ([(3000, 4000)], (1088, 1472), "scaled down to 1.6 megapixels"),
        ([(8, 200_000)], (32, 200_000), "8 x 200000"),
        ([(100, 300), (300, 100)], (224, 224), "they fill 33% of it"),
        ([(100, 300)] * 6 + [(300, 100)] * 5, (128, 320), "they fill 60% of it"),
    ],
)
def test_the_median_shape(sizes: list[tuple[int, int]], expected: tuple[int, int], words: str) -> None:
    shape, reason = median_shape(np.array(sizes), 32)
    assert shape == expected
    assert words in reason
    assert ("--rect" in reason) == ("fill" in words)


@given(st.integers(1, 9000), st.integers(1, 9000))
def test_the_median_shape_is_bounded_and_keeps_the_aspect(height: int, width: int) -> None:
    shape, _ = median_shape(np.array([(height, width)]), 32)
    assert all(side % 32 == 0 for side in shape)
    if min(height, width) >= 256:
        assert shape[0] * shape[1] <= max(MOST_PIXELS, (height + 31) * (width + 31))
        assert shape[0] / shape[1] == pytest.approx(height / width, rel=0.3)


def test_rounding_up_to_the_stride() -> None:
    assert round_up((250, 2000), 32) == (256, 2016)
    assert round_up((1, 64), 64) == (64, 64)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of 21 images: tall, wide and square ones, of noise; the box is the middle of each."""
    root = tmp_path_factory.mktemp("mixed")
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    for number in range(21):
        noise(*(TALL, WIDE, SQUARE)[number % 3], seed=number).save(root / "images" / f"{number:02}.png")
        (root / "labels" / f"{number:02}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (root / "data.yaml").write_text("train: images\nval: images\nnames: [square]\n")
    return root / "data.yaml"


def open_mixed(source: Path, mode: str = "train", shape: tuple[int, int] | None = None, **settings: Any) -> Any:
    return open_dataset(source, mode, shape=shape, **{"imgsz": 96, "rect": True, **settings})


def epoch_of(dataset: DetectionDataset, epoch: int, workers: int = 0) -> list[dict[str, Any]]:
    import torch

    loader: Loader = make_loader(dataset, workers, torch.device("cpu"), shuffle=True)
    loader.start_epoch(epoch)
    batches = list(loader)
    loader.close()
    return batches


@pytest.mark.parametrize("settings", [{"mosaic": 0.0}, {"mosaic": 1.0, "mixup": 0.5, "cutmix": 0.5}])
def test_rectangles_are_shuffled_and_no_larger_than_squares(mixed: Path, settings: dict[str, float]) -> None:
    dataset = open_mixed(mixed, **settings)
    epochs = [epoch_of(dataset, number) for number in range(3)]
    for batches in epochs:
        assert [len(batch["img"]) for batch in batches] == [4, 4, 4, 4, 4, 1]
        assert sorted(name for batch in batches for name in batch["im_file"]) == sorted(dataset.im_files)
        shapes = {tuple(batch["img"].shape[2:]) for batch in batches}
        assert shapes == {batch.shape for batch in dataset.batches}
        assert len(shapes) > 1
        assert all(max(shape) == 96 and min(shape) % 32 == 0 for shape in shapes)
    orders = [[name for batch in batches for name in batch["im_file"]] for batches in epochs]
    assert orders[0] != orders[1] != orders[2]
    # Not only the batches change places: their images do too.
    members = [{frozenset(batch["im_file"]) for batch in batches} for batches in epochs]
    assert members[0] != members[1]


def test_rectangles_do_not_depend_on_the_workers(mixed: Path) -> None:
    for none, two in zip(epoch_of(open_mixed(mixed), 1), epoch_of(open_mixed(mixed), 1, workers=2), strict=True):
        assert none["im_file"] == two["im_file"]
        assert none["img"].equal(two["img"])
        assert none["bboxes"].equal(two["bboxes"])


def test_a_fixed_shape_is_that_of_every_sample_in_any_mode(mixed: Path) -> None:
    for mode in ("train", "val"):
        dataset = open_mixed(mixed, mode, shape=(32, 160), rect=False, imgsz=160)
        assert {tuple(dataset[i]["img"].shape) for i in range(len(dataset))} == {(3, 32, 160)}
    assert [len(batch.images) for batch in dataset.batches] == [4, 4, 4, 4, 4, 1]
    assert dataset.shapes[20] == (32, 160)
    assert dataset.im_files == sorted(dataset.im_files)
