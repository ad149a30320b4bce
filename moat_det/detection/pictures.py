"""The pictures that a detection leaves: an image with what was found in it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from moat_det.data.images.shown import as_picture
from moat_det.detection.detections import Detections
from moat_det.errors import UserError
from moat_det.files import atomic_write_bytes
from moat_det.report.pictures import draw_boxes

_LONGEST_JPEG = 65_500  # pixels of a side


def draw_detections(
    image: np.ndarray,
    found: Detections,
    *,
    line_width: int | None = None,
    boxes: bool = True,
    names: bool = True,
    scores: bool = True,
) -> np.ndarray:
    """Draw detections into an image.

    Args:
        image: (H, W, C) uint8, BGR where C is 3.
        found: In pixels of the image.
        line_width: Of a box, in pixels; None follows from the image's size.
        boxes: Draw them at all.
        names: Name them.
        scores: Say the score beside the name.

    Returns:
        A new picture (H, W, 3) uint8, BGR.
    """
    picture = as_picture(image)
    if not boxes:
        return picture.copy()
    texts = [
        "" if not names else f"{name} {score:.2f}" if scores else name
        for name, score in zip(found.classes, found.score.tolist(), strict=True)
    ]
    rgb = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_BGR2RGB)
    drawn = draw_boxes(rgb, found.xyxy, texts, found.cls.tolist(), line=line_width)
    return cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)


def write_picture(path: Path, picture: np.ndarray, *settings: int, suffix: str = ".jpg") -> Path:
    """Write a picture (H, W, 3), BGR, to `path` with a suffix, or that of a PNG where a JPEG cannot be so long.

    Args:
        path: Without suffix.
        picture: The picture.
        *settings: For OpenCV's encoder.
        suffix: .jpg or .png.

    Returns:
        The file.
    """
    if suffix == ".jpg" and max(picture.shape[:2]) > _LONGEST_JPEG:
        suffix, settings = ".png", ()
    encoded, content = cv2.imencode(suffix, picture, settings)
    if not encoded:
        raise UserError(f"{path}{suffix}: the picture of {picture.shape} could not be encoded; leave it out")
    file = Path(f"{path}{suffix}")
    atomic_write_bytes(file, content.tobytes())
    return file
