"""Heat maps as numbers, for other programs."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np

from moat_det.anomaly.options import NPY
from moat_det.files import atomic_write_bytes

STEPS = 10_000
"""What a 16-bit PNG holds for 1; it ends at 6.5535."""


def write_map(path: Path, values: np.ndarray, kind: str) -> None:
    """Write a map (H, W) float32.

    Args:
        path: Without suffix.
        values: The map.
        kind: "npy", as it is, or "png", 16 bits: `STEPS` times as much.

    Raises:
        OSError: It cannot be written.
    """
    if kind == NPY:
        content = io.BytesIO()
        np.save(content, values)
        atomic_write_bytes(f"{path}.npy", content.getvalue())
        return
    steps = (values * STEPS).round().clip(0, np.iinfo(np.uint16).max).astype(np.uint16)
    atomic_write_bytes(f"{path}.png", cv2.imencode(".png", steps)[1].tobytes())
