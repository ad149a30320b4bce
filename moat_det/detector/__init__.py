"""The detector: backbone, PAN neck and anchor-free head, and what the losses need."""

from __future__ import annotations

import moat_det.offline  # noqa: F401  (before any module here imports ultralytics)
