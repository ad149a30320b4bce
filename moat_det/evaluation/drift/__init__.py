"""Whether new images, and what a model finds in them, are still like those of its validation."""

from __future__ import annotations

from moat_det.evaluation.drift.appearance import APPEARANCE, appearance
from moat_det.evaluation.drift.change import drift, drift_table
from moat_det.evaluation.drift.sample import read_sample

__all__ = ["APPEARANCE", "appearance", "drift", "drift_table", "read_sample"]
