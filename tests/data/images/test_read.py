"""Files of every kind: samples, channels and the way up."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from ultralytics.utils.patches import imread

from helpers.dataset_files import find_images
from helpers.datasets import open_dataset
from moat_det.data.images import pillow
from moat_det.data.images.header import ImageHeader, read_header
from moat_det.data.images.intensity import Intensity
from moat_det.data.images.read import read_image, read_input
from moat_det.errors import UserError

SIZE = HEIGHT, WIDTH = 24, 40
FULL = Intensity("full")


def colours(channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (*SIZE, channels)).astype(dtype)
    return image if channels > 1 else image[..., 0]


def smooth() -> Image.Image:
    """Large areas, which lossy formats keep, and no symmetry."""
    image = np.zeros((*SIZE, 3), np.uint8)
    image[:12, :16], image[12:, 24:] = (250, 30, 60), (20, 220, 90)
    return Image.fromarray(image)


# The way up


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".avif"])
def test_every_exif_orientation_is_applied(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"turned{suffix}"
    smooth().save(path, exif=exif, quality=95)
    upright = np.asarray(ImageOps.exif_transpose(_with_orientation(orientation)))
    found = read_input(path, FULL)[..., ::-1]
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 6


def _with_orientation(orientation: int) -> Image.Image:
    image = smooth()
    image.getexif()[274] = orientation
    return image


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_and_to_16_bits(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    gray = Image.fromarray(colours(1, np.uint16))
    gray.save(tmp_path / f"turned{suffix}", exif=exif)
    gray.getexif()[274] = orientation
    assert np.array_equal(read_image(tmp_path / f"turned{suffix}")[..., 0], np.asarray(ImageOps.exif_transpose(gray)))


_STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "deep.png", "deep.tif"])
def test_boxes_lie_where_the_upright_image_shows_them(tmp_path: Path, name: str, orientation: int) -> None:
    upright = np.zeros((48, 80), np.uint16 if name.startswith("deep") else np.uint8)
    upright[8:24, 40:72] = 200
    exif = Image.Exif()
    exif[274] = orientation
    image = Image.fromarray(upright)
    if orientation > 1:
        image = image.transpose(_STORED[orientation])
    image.save(tmp_path / name, exif=exif)
    (tmp_path / name).with_suffix(".txt").write_text("0 0.7 0.33333333 0.4 0.33333333\n")
    data = {"names": {0: "spot"}, "channels": 3, "intensity": Intensity("image")}
    item = open_dataset({**data, "val": str(tmp_path)}, "val", 1, imgsz=160)[0]
    height, width = item["img"].shape[1:]
    x, y, w, h = (item["bboxes"][0] * torch.tensor([width, height, width, height])).tolist()
    bright = item["img"][0] > 150
    left, top, right, bottom = (round(side) for side in (x - w / 2, y - h / 2, x + w / 2, y + h / 2))
    assert bright[top + 2 : bottom - 2, left + 2 : right - 2].all()
    assert bright.sum() <= (w + 2) * (h + 2)


# Samples


@pytest.mark.parametrize(
    ("suffix", "dtype", "channels"),
    [
        *((suffix, dtype, n) for suffix in (".png", ".tif") for dtype in (np.uint8, np.uint16) for n in (1, 3, 4)),
        *((".tif", dtype, n) for dtype in (np.int16, np.int32, np.uint32) for n in (1, 3)),
        (".bmp", np.uint8, 1),
    ],
)
def test_samples_come_as_stored_and_alpha_is_dropped(tmp_path: Path, suffix: str, dtype: type, channels: int) -> None:
    image = colours(channels, dtype)
    cv2.imwrite(str(tmp_path / f"image{suffix}"), image)
    found = read_image(tmp_path / f"image{suffix}")
    assert found.dtype == dtype
    assert np.array_equal(found, image[..., :3] if channels > 1 else image[..., None])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_floating_samples(tmp_path: Path, dtype: type, channels: int) -> None:
    image = np.random.default_rng(0).normal(size=(*SIZE, channels)).astype(dtype)
    image[0, 0] = np.nan
    cv2.imwrite(str(tmp_path / "image.tif"), image)
    assert np.array_equal(read_image(tmp_path / "image.tif"), image, equal_nan=True)
    assert read_input(tmp_path / "image.tif", Intensity("image")).shape == (*SIZE, 3)
    with pytest.raises(UserError, match=r"image\.tif: intensity: full has no meaning"):
        read_input(tmp_path / "image.tif", FULL)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK"])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".jpg"])
def test_modes(tmp_path: Path, mode: str, suffix: str) -> None:
    image = smooth().convert(mode)
    path = tmp_path / f"image{suffix}"
    try:
        image.save(path)
    except OSError:
        return  # no such mode in this format
    found = read_input(path, FULL)
    shown = np.asarray(image.convert("RGB")).astype(int)
    assert found.dtype == np.uint8
    assert np.abs(found[..., ::-1] - shown).mean() < 6
    assert mode not in {"1", "L"} or read_image(path).shape[2] == 1


def test_what_is_under_alpha_is_kept(tmp_path: Path) -> None:
    image = np.dstack([colours(), np.zeros(SIZE, np.uint8)])
    cv2.imwrite(str(tmp_path / "clear.png"), image)
    assert np.array_equal(read_input(tmp_path / "clear.png", FULL), image[..., :3])


def test_8_bits_are_read_as_the_engine_reads_them(tmp_path: Path) -> None:
    for suffix in (".jpg", ".png", ".tif", ".bmp", ".webp"):
        for image in (smooth(), smooth().convert("L")):
            image.save(tmp_path / f"image{suffix}")
            found = read_input(tmp_path / f"image{suffix}", Intensity())
            assert np.array_equal(found, imread(tmp_path / f"image{suffix}"))


def test_gray_is_made_of_colour_and_colour_of_gray(tmp_path: Path) -> None:
    smooth().save(tmp_path / "colour.png")
    smooth().convert("L").save(tmp_path / "gray.png")
    gray = read_input(tmp_path / "gray.png", FULL, channels=1)
    assert gray.shape == (*SIZE, 1)
    assert np.abs(read_input(tmp_path / "colour.png", FULL, channels=1).astype(int) - gray).max() <= 1
    assert np.array_equal(read_input(tmp_path / "gray.png", FULL), np.repeat(gray, 3, axis=2))


# Bands


def pages(path: Path, bands: list[np.ndarray]) -> Path:
    cv2.imwritemulti(str(path), bands)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_bands_are_the_pages_of_a_tiff(tmp_path: Path, dtype: type) -> None:
    bands = np.random.default_rng(0).integers(0, 200, (*SIZE, 5)).astype(dtype)
    path = pages(tmp_path / "bands.tif", list(bands.transpose(2, 0, 1)))
    found = read_image(path, channels=5)
    assert found.dtype == dtype
    assert np.array_equal(found, bands)
    assert read_input(path, Intensity(), channels=5).shape == (*SIZE, 5)
    assert read_image(path).shape == (*SIZE, 1)  # the first page


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.int64])
def test_bands_are_the_last_axis_of_an_array(tmp_path: Path, dtype: type) -> None:
    bands = np.random.default_rng(0).integers(0, 200, (*SIZE, 7)).astype(dtype)
    np.save(tmp_path / "bands.npy", bands)
    assert np.array_equal(read_image(tmp_path / "bands.npy", channels=7), bands)
    assert read_header(tmp_path / "bands.npy") == ImageHeader(HEIGHT, WIDTH, deep=dtype != np.uint8)
    assert read_input(tmp_path / "bands.npy", Intensity(), channels=7).shape == (*SIZE, 7)


def test_arrays_of_gray_and_colour(tmp_path: Path) -> None:
    image = colours(3, np.uint16)
    np.save(tmp_path / "rgb.npy", image)
    assert np.array_equal(read_image(tmp_path / "rgb.npy"), image[..., ::-1])
    for name, array in {"plane": image[..., 0], "gray": image[..., :1]}.items():
        np.save(tmp_path / f"{name}.npy", array)
        assert np.array_equal(read_image(tmp_path / f"{name}.npy"), image[..., :1])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((7, *SIZE)),
        np.zeros(SIZE),
        np.zeros((*SIZE, 6), np.uint16),
        np.zeros((*SIZE, 3), np.uint8),
        np.zeros((0, 40, 7)),
        np.zeros((*SIZE, 7), complex),
        np.full((*SIZE, 7), None),
        np.zeros((2, *SIZE, 7)),
    ],
)
def test_arrays_of_another_form_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "bands.npy", array)
    with pytest.raises(OSError, match=r"\(H, W, 7\)|and no image|is no array"):
        read_image(tmp_path / "bands.npy", channels=7)


def test_arrays_count_where_a_list_names_them(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", colours())
    smooth().save(tmp_path / "b.png")
    (tmp_path / "list.txt").write_text("a.npy\nb.png\n")
    assert [path.name for path in find_images(tmp_path / "list.txt")] == ["a.npy", "b.png"]
    assert [path.name for path in find_images(tmp_path)] == ["b.png"]


def test_other_numbers_of_pages_are_refused(tmp_path: Path) -> None:
    gray = colours(1)
    with pytest.raises(OSError, match="it has 3 pages of 24x40; 'channels: 4' needs 4 gray ones"):
        read_image(pages(tmp_path / "a.tif", [gray] * 3), channels=4)
    with pytest.raises(OSError, match="it has 2 pages of 24x40, 12x40"):
        read_image(pages(tmp_path / "b.tif", [gray, gray[:12]]), channels=2)
    smooth().save(tmp_path / "c.png")
    with pytest.raises(OSError, match=r"needs a TIFF of 4 pages or a \.npy"):
        read_image(tmp_path / "c.png", channels=4)


# Damage


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.bmp", "deep.png", "deep.tif", "bands.npy", "bands.tif"])
def test_a_cut_off_file_is_an_error_of_one_line(tmp_path: Path, name: str, share: float) -> None:
    path, channels = tmp_path / name, 5 if name.startswith("bands") else 3
    if name == "bands.npy":
        np.save(path, colours(5))
    elif name == "bands.tif":
        pages(path, list(colours(5).transpose(2, 0, 1)))
    else:
        cv2.imwrite(str(path), colours(3, np.uint16 if name.startswith("deep") else np.uint8))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(OSError, match=r"\w") as caught:
        read_image(path, channels)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("name", ["gone.png", "gone.npy", "gone.tif"])
def test_a_missing_file(tmp_path: Path, name: str, channels: int) -> None:
    with pytest.raises(OSError, match=r"needs a TIFF" if channels == 5 and name == "gone.png" else "No such file"):
        read_image(tmp_path / name, channels)


def test_what_is_no_image(tmp_path: Path) -> None:
    contents: dict[str, Any] = {"a.png": b"no image", "a.npy": b"\x93NUMPY\x01\x00v\x00{'descr': ", "a.tif": b"II*\x00"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        for channels in (3, 4):
            with pytest.raises(OSError, match=r"\w"):
                read_image(tmp_path / name, channels)


@pytest.mark.parametrize("read", [read_image, read_header])
def test_a_heif_without_its_package_names_it(
    read: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    pillow._know_heif.cache_clear()
    (tmp_path / "part.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(OSError, match="pip install pi-heif"):
        read(tmp_path / "part.heic")
    Image.fromarray(colours()).save(tmp_path / "other.png")
    assert read((tmp_path / "other.png").rename(tmp_path / "named.heic")) is not None
    pillow._know_heif.cache_clear()
