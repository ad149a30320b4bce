"""Defect detection on the MOAT backbone.

Importing this package is cheap: torch and the engine are imported when one of the names below is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moat_det.backbones import create_backbone, list_backbones
    from moat_det.engine import MOAT

__version__ = "0.1.0"
__all__ = ["MOAT", "create_backbone", "list_backbones"]

_HOMES = {
    "MOAT": "moat_det.engine",
    "create_backbone": "moat_det.backbones",
    "list_backbones": "moat_det.backbones",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
