"""What training does to images and their boxes."""

from __future__ import annotations

import moat_det.offline  # noqa: F401  (before any module here imports ultralytics)
from moat_det.data.augment.copy_paste import CopyPaste
from moat_det.data.augment.pipeline import training_transforms
from moat_det.data.augment.presets import Preset, load_preset

__all__ = ["CopyPaste", "Preset", "load_preset", "training_transforms"]
