"""Reading an image file: to the samples that it holds, upright by EXIF and without alpha, and to the model's input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from moat_det.data.images.gray import squeeze
from moat_det.data.images.intensity import Intensity
from moat_det.data.images.pillow import read_picture
from moat_det.data.images.reduced import reducing_flag
from moat_det.data.images.suffixes import ARRAY_SUFFIX, BY_PILLOW
from moat_det.errors import UserError
from moat_det.files import check_is_file

# Unlike IMREAD_UNCHANGED these turn the image by EXIF and drop alpha, and unlike the others they keep depth and gray.
_AS_STORED = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
_DAMAGED = "it cannot be decoded: damaged, cut off, or of an unknown kind"


def read_image(path: str | Path, channels: int = 3, factor: int = 1) -> np.ndarray:
    """Read an image file as it was stored.

    Alpha is dropped, not blended: what the camera saw is in the colours. Palettes, CMYK and one bit become colours
    or gray of 8 bits.

    Args:
        path: The image file; a .npy holds (H, W) or (H, W, C), of colour R, G, B.
        channels: What the model takes. 1 and 3 are gray or colour; any other number are bands, which are the pages of a
            TIFF or the last axis of a .npy.
        factor: 2, 4 or 8 decodes a JPEG at that part of its height and width; other formats are read whole.

    Returns:
        (H, W, C) after the EXIF rotation, in the file's sample type. C is 1 for gray, 3 for colour (BGR), or
        `channels` bands in the file's order.

    Raises:
        OSError: The file is missing, damaged, of an unknown kind, or holds another number of bands.
    """
    path = Path(path)
    if path.suffix.lower() == ARRAY_SUFFIX:
        return _read_array(path, channels)
    try:
        image = _read_picture(path, factor) if channels in {1, 3} else _read_pages(path, channels)
    except MemoryError as error:
        raise OSError("it is too large for the memory that is free") from error
    except cv2.error as error:  # its text spans lines
        raise OSError(str(error).strip().splitlines()[-1]) from error
    return image[..., None] if image.ndim == 2 else image


@contextmanager
def naming_unreadable(path: str | Path) -> Iterator[None]:
    """Let an `OSError` of the block, which reads an image of a dataset, be a `UserError` that names its file."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror or error}; replace the image, or take it out of the dataset"
        ) from error


def read_input(
    path: str | Path, intensity: Intensity, channels: int = 3, factor: int = 1, keep_gray: bool = False
) -> np.ndarray:
    """Read an image file as the model's input.

    Args:
        path: The image file.
        intensity: How more than 8 bits become 8.
        channels: 1, gray; 3, colour, with gray repeated; else bands, as in `read_image`.
        factor: As in `read_image`.
        keep_gray: With 3 channels, give gray images as one band, also those that are stored as three equal ones.

    Returns:
        (H, W, channels) uint8; BGR where there are 3.

    Raises:
        OSError: As `read_image`.
        UserError: As `Intensity.to_uint8`.
    """
    image = read_image(path, channels, factor)
    try:
        image = intensity.to_uint8(image)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return squeeze(image) if channels == 3 and keep_gray else in_bands(image, channels)


def in_bands(image: np.ndarray, channels: int) -> np.ndarray:
    """Give an image (H, W, C), uint8, in as many bands: gray repeated as BGR, BGR as gray; others as they are."""
    if channels == 3 and image.shape[2] == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if channels == 1 and image.shape[2] == 3:
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None]
    return image


def _read_picture(path: Path, factor: int) -> np.ndarray:
    if path.suffix.lower() in BY_PILLOW:
        image = read_picture(path)
    else:
        content = _file_bytes(path)
        image = cv2.imdecode(content, _AS_STORED | reducing_flag(content, factor))
    if image is None:
        raise OSError(_DAMAGED)
    return image


def _read_array(path: Path, channels: int) -> np.ndarray:
    image = np.array(open_array(path))
    image = image[..., None] if image.ndim == 2 else image
    known = {1, 3} if channels in {1, 3} else {channels}
    if image.ndim != 3 or image.shape[2] not in known:
        raise OSError(f"it holds an array of {image.shape}; 'channels: {channels}' needs (H, W, {channels})")
    return np.ascontiguousarray(image[..., ::-1]) if channels in {1, 3} and image.shape[2] == 3 else image


def open_array(path: Path) -> np.ndarray:
    """Open a .npy file of an image, (H, W) or (H, W, C), whose samples are read when they are used.

    Raises:
        OSError: The file is missing, cut off, or holds something else.
    """
    check_is_file(path)
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except ValueError as error:
        raise OSError(f"it is no array: {error}") from error
    if array.ndim not in {2, 3} or not array.size or array.dtype.kind not in "uif":
        raise OSError(f"it holds {array.dtype} {array.shape} and no image")
    return array


def _read_pages(path: Path, channels: int) -> np.ndarray:
    if path.suffix.lower() not in {".tif", ".tiff"}:
        raise OSError(f"'channels: {channels}' needs a TIFF of {channels} pages or a .npy (H, W, {channels})")
    decoded, pages = cv2.imdecodemulti(_file_bytes(path), _AS_STORED)
    if not decoded or not pages:
        raise OSError(_DAMAGED)
    if len(pages) != channels or any(page.ndim != 2 or page.shape != pages[0].shape for page in pages):
        found = ", ".join(dict.fromkeys("x".join(map(str, page.shape)) for page in pages))
        raise OSError(
            f"it has {len(pages)} pages of {found}; 'channels: {channels}' needs {channels} gray ones of one size"
        )
    return np.stack(pages, axis=2)


def _file_bytes(path: Path) -> np.ndarray:
    check_is_file(path)
    content = np.fromfile(path, np.uint8)  # cv2.imread takes no path that is not ASCII on Windows
    if not content.size:
        raise OSError("the file is empty")
    return content
