"""Where the project's own files lie: beside the package in a checkout, else inside it or in the user's cache."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

PROJECT = "runs"
"""Where runs go unless the user says otherwise, below the current folder."""

_PACKAGE = Path(__file__).resolve().parent


def cfg_dir() -> Path:
    """Give the folder of the model and training YAMLs (`cfg/` of the checkout, `moat_det/cfg/` of a wheel)."""
    installed = _PACKAGE / "cfg"
    return installed if installed.is_dir() else _PACKAGE.parent / "cfg"


def weights_dir() -> Path:
    """Give the folder of downloaded weights; it need not exist.

    `$MOAT_DET_WEIGHTS`, else `weights/` of the checkout, or the user's cache when the package is installed.
    """
    if os.environ.get("MOAT_DET_WEIGHTS"):
        return Path(os.environ["MOAT_DET_WEIGHTS"]).expanduser()
    checkout = _PACKAGE.parent
    return checkout / "weights" if (checkout / "pyproject.toml").is_file() else user_cache() / "weights"


def expand_home(value: Any) -> Any:
    """Expand a `~` at the head of a path, as shells do; they leave it in `--project=~/runs`.

    Args:
        value: A text or a path, or a list or tuple of such; what begins otherwise, or is no path, stays as it is.
    """
    if isinstance(value, (list, tuple)):
        return type(value)(map(expand_home, value))
    if not isinstance(value, (str, Path)) or not str(value).startswith("~"):
        return value
    return type(value)(os.path.expanduser(value))


def user_cache() -> Path:
    """Give the project's folder in the user's cache; it need not exist."""
    if os.environ.get("MOAT_DET_CACHE"):
        return Path(os.environ["MOAT_DET_CACHE"])
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "moat_det"
    return Path.home() / ".cache" / "moat_det"
