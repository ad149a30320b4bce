"""What training does to images and their boxes."""

from __future__ import annotations

from moat_det.data.augment.pipeline import training_transforms

__all__ = ["training_transforms"]
