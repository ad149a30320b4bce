"""One index of images and boxes, from YOLO text files, COCO JSON or VOC XML."""

from __future__ import annotations

from moat_det.data.index.open import open_index
from moat_det.data.index.split import ScanReport, SplitIndex

__all__ = ["ScanReport", "SplitIndex", "open_index"]
