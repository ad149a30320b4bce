"""Where the project's own files lie: beside the package in a checkout, else inside it or in the user's cache."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from moat_det.errors import UserError
from moat_det.messages import as_given, suggest

PROJECT = "runs"
"""Where runs go unless the user says otherwise, below the current folder."""

_PACKAGE = Path(__file__).resolve().parent


def cfg_dir() -> Path:
    """Give the folder of the model and training YAMLs (`cfg/` of the checkout, `moat_det/cfg/` of a wheel)."""
    installed = _PACKAGE / "cfg"
    return installed if installed.is_dir() else _PACKAGE.parent / "cfg"


def is_yaml(path: str | Path) -> bool:
    """Whether a path is that of a YAML, by its name."""
    return Path(path).suffix.lower() in {".yaml", ".yml"}


def yaml_names(folder: str = "") -> list[str]:
    """Give the names of the YAMLs that come with the project, in a folder of `cfg_dir()`."""
    return sorted(file.stem for file in (cfg_dir() / folder).glob("*.yaml"))


def named_yaml(folder: str, name: str | Path, option: str) -> Path:
    """Give the file of a name, one of `yaml_names`, or of the path of a YAML.

    Args:
        folder: Of `cfg_dir()`.
        name: What the user wrote.
        option: Where.

    Raises:
        UserError: There is no such name or file.
    """
    names = yaml_names(folder)
    if str(name) in names:
        return cfg_dir() / folder / f"{name}.yaml"
    if not is_yaml(str(name)):
        raise UserError(
            f"{option} {as_given(name)}: none is called so{suggest(str(name), names)}; give one of {', '.join(names)}, "
            "or a YAML of your own"
        )
    if not Path(name).is_file():
        raise UserError(f"{option} {name}: no such file; give a YAML or one of {', '.join(names)}")
    return Path(name)


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
