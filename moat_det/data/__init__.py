"""Datasets: what a YAML names, the labels and the images it leads to, and their way to the engine."""

from __future__ import annotations

import moat_det.offline  # noqa: F401  (before any module here imports ultralytics)
