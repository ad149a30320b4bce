"""The header of an image: its size and depth, without decoding it where the header tells enough."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from PIL import Image, TiffImagePlugin

from moat_det.data.images.pillow import open_picture
from moat_det.data.images.read import open_array, read_image
from moat_det.data.images.suffixes import ARRAY_SUFFIX
from moat_det.files import check_is_file

MAX_PIXELS = int(os.environ.get("OPENCV_IO_MAX_IMAGE_PIXELS", 2**30))
"""The largest image that is read: what OpenCV decodes, 32,768 x 32,768 unless its environment variable says else."""

ORIENTATION_TAG = 274
_SIDEWAYS = {5, 6, 7, 8}
_END_MARKS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "JPEG2000": b"\xff\xd9", "PNG": b"IEND"}
# Of these is known whether they are cut off, or Pillow refuses to open what is; others are decoded.
_CHECKED = {*_END_MARKS, "AVIF", "BMP", "HEIF", "TIFF", "WEBP"}
_OF_SEVERAL = {"AVIF", "PNG", "TIFF", "WEBP"}
_SUBFILE_TAG = 254
# Pillow's raw modes of more than 8 bits per sample; "BGR;16" of BMP is 16 bits per pixel and none of them.
_DEEP_RAW_MODE = re.compile(r"(I|F|L|LA|RGB|RGBA|RGBX);(12|16|32|64)")


@dataclass(frozen=True)
class ImageHeader:
    """What is known of an image before it is read.

    Attributes:
        height: Rows after the EXIF rotation, in pixels.
        width: Columns after the EXIF rotation, in pixels.
        deep: Whether a sample has more than 8 bits.
        pictures: How many pictures the file holds, as `count_pictures` does.
    """

    height: int
    width: int
    deep: bool
    pictures: int = 1


class _PillowsLimit:
    """Pillow's limit is one for all threads: the first block that lifts it notes it down, the last one restores it."""

    def __init__(self) -> None:
        self._lock, self._blocks = Lock(), 0
        self._limit: int | None = None

    def lift(self) -> None:
        with self._lock:
            if not self._blocks:
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, MAX_PIXELS
            self._blocks += 1

    def restore(self) -> None:
        with self._lock:
            self._blocks -= 1
            if not self._blocks:
                Image.MAX_IMAGE_PIXELS = self._limit


_limit = _PillowsLimit()


@contextmanager
def large_images() -> Iterator[None]:
    """Let Pillow open images of up to `MAX_PIXELS`; it takes those of over 179 megapixels for an attack.

    Blocks of several threads may overlap.
    """
    _limit.lift()
    try:
        yield
    finally:
        _limit.restore()


def read_header(path: str | Path) -> ImageHeader:
    """Read the size and the depth of an image as `read_image` will decode it.

    Only a file that Pillow does not know, that looks cut off or that holds 32-bit samples is decoded, and so
    is one stored sideways in a format other than JPEG, where libraries differ in what they turn.

    Args:
        path: The image file.

    Returns:
        Its height and width in pixels after the EXIF rotation, and its depth.

    Raises:
        OSError: The file cannot be read or decoded; the message says why.
    """
    path = Path(path)
    check_is_file(path)
    if not path.stat().st_size:
        raise OSError("the file is empty")
    if path.suffix.lower() == ARRAY_SUFFIX:
        array = open_array(path)
        return ImageHeader(array.shape[0], array.shape[1], deep=array.dtype.itemsize > 1)
    try:
        with open_picture(path) as image:
            bits = _bits_per_sample(image)
            width, height = image.size
            sideways = image.getexif().get(ORIENTATION_TAG) in _SIDEWAYS
            turn_known = not sideways or image.format in {"JPEG", "MPO"}
            sure = turn_known and bits < 32 and image.format in _CHECKED and is_whole(image, path)
            pictures = _count(image)
    except Exception:  # Pillow's parsers raise anything from SyntaxError to struct.error on a broken file.
        bits, sure, pictures = 8, False, 1
    if not sure:
        image = read_image(path)
        return ImageHeader(image.shape[0], image.shape[1], deep=image.dtype.itemsize > 1, pictures=pictures)
    height, width = (width, height) if sideways else (height, width)
    return ImageHeader(height, width, bits > 8, pictures)


def count_pictures(path: str | Path) -> int:
    """Give how many pictures a file holds: pages of a TIFF, frames of an animation; 1 where that cannot be read.

    Pages that show another one smaller, and the previews that cameras put into their files, are not counted.
    """
    try:
        with open_picture(path) as image:
            return _count(image)
    except Exception:  # Pillow's parsers raise anything on a broken file
        return 1


def _count(image: Image.Image) -> int:
    if image.format not in _OF_SEVERAL:
        return 1
    frames = int(getattr(image, "n_frames", 1))
    if frames == 1 or not isinstance(image, TiffImagePlugin.TiffImageFile):
        return frames
    reduced = 0
    for page in range(frames):
        image.seek(page)
        reduced += bool(int(image.tag_v2.get(_SUBFILE_TAG, 0)) & 1)
    image.seek(0)
    return frames - reduced


def _bits_per_sample(image: Image.Image) -> int:
    """Give what the file stores; Pillow's mode alone hides that a colour image has 16 bits."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][-1] if tiles else ""
    raw_mode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    if match := _DEEP_RAW_MODE.match(str(raw_mode)):
        return int(match[2])
    return {"I": 32, "F": 32}.get(image.mode, 16 if image.mode.startswith("I;16") else 8)


def is_whole(image: Image.Image, path: Path) -> bool:
    """Whether the file reaches as far as its header says. Some bytes may follow the end mark."""
    size = path.stat().st_size
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tags = image.tag_v2
        offsets, counts = tags.get(273) or tags.get(324), tags.get(279) or tags.get(325)  # strips, or tiles
        if not offsets or not counts:
            return False
        return max(start + length for start, length in zip(offsets, counts, strict=False)) <= size
    with path.open("rb") as file:
        if image.format == "BMP":
            return int.from_bytes(file.read(6)[2:], "little") <= size
        mark = _END_MARKS.get(image.format or "", b"")
        file.seek(max(0, size - 1024))
        return mark in file.read()
