"""The engine's arguments: which there are, what they take, and our defaults of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import cache, partial
from typing import Any

import yaml
from ultralytics.cfg import check_cfg
from ultralytics.utils import DEFAULT_CFG_DICT, DEFAULT_CFG_PATH

from moat_det.errors import UserError
from moat_det.options import Option, hint, read_types
from moat_det.paths import cfg_dir

# The command decides both.
_FIXED = ("task", "mode")
# Where the engine takes more, or less, than its comment says.
_TYPES = {"imgsz": "int | list[int] | native | auto", "resume": "bool | str"}
# Keywords that the engine's Python API takes beside its configuration.
_PYTHON_ONLY = ("augmentations", "save_dir")

_SECTION = re.compile(r"# (?P<title>[A-Z].*?)(?: settings)?(?: -+)?$")
_ENTRY = re.compile(r"(?P<name>\w+):.*?# \((?P<types>[^)]*)\) (?P<text>.*)$")


def training_defaults() -> dict[str, Any]:
    """Give our defaults of the engine's training arguments, where they differ from its own."""
    path = cfg_dir() / "training" / "default.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@cache
def engine_options() -> dict[str, Option]:
    """Give the engine's arguments, with the types and texts of the comments in its default.yaml."""
    options: dict[str, Option] = {}
    section, after_blank = "", False
    for line in DEFAULT_CFG_PATH.read_text(encoding="utf-8").splitlines():
        if (heading := _SECTION.match(line)) and after_blank:
            section = heading["title"]
        elif (entry := _ENTRY.match(line)) and (name := entry["name"]) not in _FIXED:
            types, default = read_types(_TYPES.get(name, entry["types"])), DEFAULT_CFG_DICT[name]
            check = partial(_checked, name)
            options[name] = Option(name, types, entry["text"], default=default, section=section, check=check)
        after_blank = not line.strip()
    return options


def check_overrides(overrides: Mapping[str, Any], own: Collection[str]) -> None:
    """Refuse keyword arguments of the Python API that neither the engine nor we know.

    Args:
        overrides: The keyword arguments.
        own: The names that are ours.

    Raises:
        UserError: A name is unknown; the message gives the hint right one.
    """
    known = [*DEFAULT_CFG_DICT, *_PYTHON_ONLY, *own]
    for name in overrides:
        if name not in known:
            raise UserError(f"unknown argument {name}{hint(name, known)}")


def _checked(name: str, value: Any) -> Any:
    """Give the value in the engine's range, as the engine takes it."""
    checked = {name: value}
    try:
        check_cfg(checked)
    except (TypeError, ValueError) as error:
        # The engine's first sentence repeats name and value; what is allowed follows.
        raise ValueError(str(error).partition(". ")[2] or str(error)) from error
    return checked[name]
