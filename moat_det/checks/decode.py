"""What an image file is, by decoding it once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from moat_det.checks.fingerprint import axis_share, fingerprint
from moat_det.cores import READING_THREADS
from moat_det.data.images.gray import squeeze
from moat_det.data.images.header import ORIENTATION_TAG, count_pictures, is_whole, large_images
from moat_det.data.images.pillow import open_picture
from moat_det.data.images.read import read_image
from moat_det.data.images.suffixes import ARRAY_SUFFIX
from moat_det.progress import progress


@dataclass(frozen=True)
class ImageFacts:
    """What is known of an image file.

    Attributes:
        error: Why it cannot be decoded; the rest is empty then.
        truncated: Whether the file ends before its image does.
        height: Rows after the EXIF rotation.
        width: Columns after the EXIF rotation.
        channels: 1 for gray, 3 for colour, or the bands.
        dtype: The sample type, such as "uint8".
        highest: The largest sample of a file of more than 8 bits.
        kind: The format that the content is of, such as "JPEG"; empty if unknown.
        pictures: How many the file holds.
        turned: Whether EXIF turns or flips it.
        digest: Of the pixels: equal for equal pictures, whatever format or number of gray channels they are stored in.
        detail: What `duplicates` compares, (96, 96) int16; None without structure.
        axis_share: The share of its edges that lie along the rows or columns.
    """

    error: str = ""
    truncated: bool = False
    height: int = 0
    width: int = 0
    channels: int = 0
    dtype: str = ""
    highest: float = 0.0
    kind: str = ""
    pictures: int = 1
    turned: bool = False
    digest: str = ""
    detail: np.ndarray | None = None
    axis_share: float = 0.0

    @property
    def deep(self) -> bool:
        """Whether a sample has more than 8 bits."""
        return self.dtype != "uint8"


def inspect_images(paths: Sequence[str], channels: int) -> dict[str, ImageFacts]:
    """Decode each image once, in threads, with a progress bar.

    Args:
        paths: The image files.
        channels: What the dataset's YAML asks for.
    """
    unique = list(dict.fromkeys(paths))
    with large_images(), _quiet_opencv(), ThreadPool(READING_THREADS) as pool:
        results = pool.imap(lambda path: inspect_image(path, channels), unique, chunksize=8)
        return dict(zip(unique, progress(results, "Decoding", len(unique), unit="image"), strict=True))


def inspect_image(path: str, channels: int) -> ImageFacts:
    """Decode an image and tell what it is; a broken one has `error` set."""
    header = {} if path.lower().endswith(ARRAY_SUFFIX) else _header(path)
    whole = header.pop("whole", True)
    try:
        image = read_image(path, channels)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return ImageFacts(error=reason, truncated=not whole)
    flat = squeeze(image)
    digest = hashlib.blake2b(repr((flat.shape, flat.dtype.str)).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(flat).data)
    gray = flat.mean(axis=2, dtype=np.float32)
    return ImageFacts(
        height=image.shape[0],
        width=image.shape[1],
        channels=image.shape[2],
        dtype=image.dtype.name,
        highest=0.0 if image.dtype == np.uint8 else float(np.fmax.reduce(image, axis=None)),
        digest=digest.hexdigest(),
        detail=fingerprint(gray),
        axis_share=axis_share(gray),
        **header,
    )


def _header(path: str) -> dict[str, Any]:
    """Give what Pillow tells without decoding; nothing of a file that it does not know."""
    known: dict[str, Any] = {"pictures": count_pictures(path)}
    with suppress(Exception), open_picture(path) as image:  # Pillow's parsers raise anything on a broken file.
        known.update(kind=image.format or "", whole=is_whole(image, Path(path)))
        known["turned"] = image.getexif().get(ORIENTATION_TAG, 1) in range(2, 9)
    return known


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keep OpenCV from printing lines of its own about broken files: the report names them."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
