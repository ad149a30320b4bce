"""The height and width that images go through the model with."""

from __future__ import annotations

# Before any module here imports the engine.
import moat_det.offline  # noqa: F401
