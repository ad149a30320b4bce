"""Training, validation and prediction on the engine, and `MOAT`, the facade that users import."""

from __future__ import annotations

# In this order: each of the first two must have run before anything of the engine is imported, or used.
import moat_det.offline

# isort: split
import moat_det.engine.quiet  # noqa: F401

# isort: split
from moat_det.engine.log import show_log
from moat_det.engine.model import MOAT

show_log()

__all__ = ["MOAT"]
