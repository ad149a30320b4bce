"""What feeds a training: the dataset of a split, its images at reduced scale, their caches, and workers."""

from __future__ import annotations

import moat_det.offline  # noqa: F401  (before any module here imports ultralytics)
