"""Boxes of COCO's objects that have an outline alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask


def box_outlines(entry: dict[str, Any]) -> dict[str, Any]:
    """Give an object of a JSON the box around its outline where it has no `bbox`; any other stays as it is."""
    if "segmentation" in entry and entry.get("bbox") in (None, []):
        box = box_around(entry["segmentation"])
        if box is not None:
            entry["bbox"] = box
    return entry


def box_around(outline: Any) -> list[float] | None:
    """Give x, y, width, height in pixels of the box around an outline.

    Args:
        outline: COCO's `segmentation`: polygons, each [x1, y1, x2, y2, ...], or an encoded mask.

    Returns:
        The box; None where the outline is empty or not in order.
    """
    try:
        if isinstance(outline, dict):
            counts, (height, width) = outline["counts"], outline["size"]
            encoded = outline if isinstance(counts, str) else mask.frPyObjects(outline, height, width)
            box = mask.toBbox(encoded).tolist()
            return box if box[2] > 0 and box[3] > 0 else None
        points = np.concatenate([np.array(polygon, dtype=np.float64).reshape(-1, 2) for polygon in outline])
    except Exception:  # pycocotools and NumPy raise anything of what is no outline
        return None
    if not len(points) or not np.isfinite(points).all():
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    return [*low.tolist(), *(high - low).tolist()]
