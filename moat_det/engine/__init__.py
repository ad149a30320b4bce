"""Training, validation and prediction on the engine, and `MOAT`, the facade that users import."""

from __future__ import annotations

from moat_det.engine import quiet  # noqa: F401  (first: it keeps what follows off the network)
from moat_det.engine.model import MOAT

__all__ = ["MOAT"]
