"""Where the project's own files lie: beside the package in a checkout, inside it when installed."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def cfg_dir() -> Path:
    """The folder of the model and training YAMLs (`cfg/` of the checkout, `moat_det/cfg/` of a wheel)."""
    installed = _PACKAGE / "cfg"
    return installed if installed.is_dir() else _PACKAGE.parent / "cfg"
