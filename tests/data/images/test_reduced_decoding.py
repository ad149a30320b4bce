from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from helpers.datasets import open_dataset
from moat_det.data.images.intensity import Intensity
from moat_det.data.images.read import read_image, read_input
from moat_det.data.images.reduced import decoding_factor
from moat_det.data.images.resize import resize
from moat_det.data.loader.dataset import DetectionDataset
from moat_det.data.sizes.policy import NativeSize

MakeSet = Callable[[dict[str, str | None]], Path]
GRAY = 128


def part(height: int, width: int, defects: list[tuple[int, int, int, int]], value: int = 20) -> np.ndarray:
    """A gray part with dark squares (y1, x1, y2, x2)."""
    image = np.full((height, width, 3), GRAY, np.uint8)
    for y1, x1, y2, x2 in defects:
        image[y1:y2, x1:x2] = value
    return image


def open_set(source: Path, mode: str, imgsz: int) -> DetectionDataset:
    return open_dataset(source, mode, batch=2, imgsz=imgsz)


def centre(image: np.ndarray) -> tuple[float, float]:
    """Of the dark, y and x in pixels, weighted by the darkness."""
    dark = np.clip(GRAY - 8 - image[..., 0].astype(float), 0, None)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    return float((y * dark).sum() / dark.sum()), float((x * dark).sum() / dark.sum())


@pytest.mark.parametrize(
    ("size", "target", "factor"),
    [
        ((640, 640), (640, 640), 1),
        ((1280, 1280), (640, 640), 2),
        ((1279, 1280), (640, 640), 1),  # an odd side would be rounded up
        ((1586, 3034), (335, 640), 2),
        ((2448, 2048), (640, 535), 2),
        ((2048, 2448), (400, 478), 4),
        ((8000, 8000), (100, 100), 8),
        ((1000, 1002), (501, 502), 1),
    ],
)
def test_the_factor(size: tuple[int, int], target: tuple[int, int], factor: int) -> None:
    assert decoding_factor(size, target) == factor


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_reduced_jpeg_is_the_whole_one_averaged(tmp_path: Path, factor: int, orientation: int, mode: str) -> None:
    picture = part(160, 240, [(40, 16, 120, 104)])
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(picture).convert(mode).save(tmp_path / "a.jpg", quality=95, exif=exif)
    whole, reduced = read_image(tmp_path / "a.jpg"), read_image(tmp_path / "a.jpg", factor=factor)
    assert whole.shape[:2] == ((160, 240) if orientation == 1 else (240, 160))
    averaged = resize(whole, whole.shape[0] // factor, whole.shape[1] // factor)
    assert reduced.shape == averaged.shape
    assert np.abs(reduced.astype(int) - averaged).mean() < 2


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_other_formats_are_read_whole(tmp_path: Path, name: str) -> None:
    Image.fromarray(part(64, 96, [])).save(tmp_path / name)
    assert read_input(tmp_path / name, Intensity(), factor=4).shape == (64, 96, 3)


@pytest.mark.parametrize("size", [(512, 768), (510, 770), (511, 767), (2000, 1200)])
@pytest.mark.parametrize("orientation", [1, 8])
def test_sizes_are_the_files_and_boxes_stay_right_to_a_tenth_of_a_pixel(
    make_set: MakeSet, size: tuple[int, int], orientation: int
) -> None:
    height, width = size
    y, x, side = height // 2, width * 3 // 4, 40
    source = make_set({"a.jpg": "0 0.5 0.5 0.1 0.1\n"})
    exif = Image.Exif()
    exif[274] = orientation
    picture = Image.fromarray(part(height, width, [(y, x, y + side, x + side)]))
    picture.save(source.parent / "images/train/a.jpg", quality=98, exif=exif)
    upright = read_image(source.parent / "images/train/a.jpg")
    dataset = open_set(source, "train", 128)
    image, full = dataset.images.load(0)
    now = image.shape[:2]
    assert full == upright.shape[:2] == dataset.labels[0]["shape"]
    expected = [middle * new / old for middle, new, old in zip(centre(upright), now, full, strict=True)]
    np.testing.assert_allclose(centre(image), expected, atol=0.1)


def test_a_file_that_is_another_than_the_indexed_one_is_read_whole(make_set: MakeSet) -> None:
    source = make_set({"a.jpg": "0 0.5 0.5 0.1 0.1\n"})
    file = source.parent / "images/train/a.jpg"
    Image.fromarray(part(512, 512, [])).save(file)
    dataset = open_set(source, "train", 64)
    Image.fromarray(part(257, 301, [])).save(file)
    image, full = dataset.images.load(0)
    assert (full, image.shape[:2]) == ((257, 301), (55, 64))


def test_a_pit_of_three_pixels_keeps_its_contrast_in_a_jpeg_four_times_larger(make_set: MakeSet) -> None:
    source = make_set({"a.jpg": "0 0.5 0.5 0.1 0.1\n"})
    pits = [(y, x, y + 3, x + 3) for x in (60, 181, 302, 423) for y in range(41, 480, 61)]  # in every phase
    for split in ("train", "val"):
        Image.fromarray(part(512, 512, pits, value=0)).save(source.parent / f"images/{split}/a.jpg", quality=95)
    for mode in ("train", "val"):
        image = open_set(source, mode, 128).images.load(0)[0][..., 0].astype(float)
        for y1, x1, y2, x2 in pits:
            around = image[y1 // 4 - 1 : y2 // 4 + 2, x1 // 4 - 1 : x2 // 4 + 2]
            # Nine dark pixels of 128 gray levels over blocks of sixteen; JPEG's own loss is in it.
            assert (GRAY - around).sum() == pytest.approx(128 * 9 / 16, rel=0.15)
    image = read_image(source.parent / "images/train/a.jpg")
    skipped = cv2.resize(image, (128, 128), interpolation=cv2.INTER_LINEAR)[..., 0].astype(float)
    sums = [(GRAY - skipped[y1 // 4 - 1 : y2 // 4 + 2, x1 // 4 - 1 : x2 // 4 + 2]).sum() for y1, x1, y2, x2 in pits]
    assert max(sums) > 3 * min(sums)  # as it would be without: some flare up, others vanish


def test_validation_and_detection_do_not_reduce(make_set: MakeSet) -> None:
    source = make_set({"a.jpg": "0 0.5 0.5 0.1 0.1\n"})
    noise = np.random.default_rng(0).integers(0, 255, (512, 512, 3), np.uint8)
    Image.fromarray(noise).save(source.parent / "images/val/a.jpg")
    whole = read_image(source.parent / "images/val/a.jpg")
    assert np.array_equal(open_set(source, "val", 128).images.load(0)[0], resize(whole, 128, 128))


def test_native_images_shrink_by_area() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))[..., None]
    assert (NativeSize(32, max_pixels=32 * 32).fit(stripes)[0] == 128).all()


def test_one_band_keeps_its_axis() -> None:
    assert resize(np.zeros((8, 8, 1), np.uint8), 4, 6).shape == (4, 6, 1)
    image = np.zeros((8, 8, 5), np.uint8)
    assert resize(image, 8, 8) is image
