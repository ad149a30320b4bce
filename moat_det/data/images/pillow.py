"""Pictures by Pillow, without the engine's changes to it."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from moat_det.data.images.suffixes import HEIF_SUFFIXES
from moat_det.files import check_is_file


class MissingPackage(OSError):
    """A kind of picture is read by a package that is not installed; the message names it."""


def open_picture(path: Path | str) -> Image.Image:
    """Open a picture by Pillow's own function; it raises what Pillow's parsers raise, of every kind.

    The engine, once it is imported, has put another in its place, which asks for a package at every file that is no
    image.
    """
    check_is_file(path)
    known = Path(path).suffix.lower() not in HEIF_SUFFIXES or _know_heif()
    patches = sys.modules.get("ultralytics.utils.patches")
    open_image = Image.open if patches is None else patches._image_open
    try:
        return open_image(path)
    except UnidentifiedImageError:
        if known:
            raise
        raise MissingPackage("it needs the package pi-heif, which is not installed: pip install pi-heif") from None


def read_picture(path: Path | str) -> np.ndarray | None:
    """Decode a picture, upright by EXIF, to (H, W, 3) uint8, BGR; None where it cannot be decoded.

    Raises:
        MissingPackage: The package that reads this kind is not installed.
    """
    try:
        with open_picture(path) as picture:
            upright = ImageOps.exif_transpose(picture).convert("RGB")
    except MissingPackage:
        raise
    except Exception:  # Pillow's parsers raise anything from SyntaxError to struct.error on a broken file
        return None
    return cv2.cvtColor(np.asarray(upright), cv2.COLOR_RGB2BGR)


@cache
def _know_heif() -> bool:
    """Let Pillow read HEIF, where the package for it is installed; says whether it is."""
    try:
        from pi_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True
