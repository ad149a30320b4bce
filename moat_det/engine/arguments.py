"""The engine's arguments: which there are, what they take, and our defaults of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import cache, partial
from typing import Any

import yaml
from ultralytics.cfg import check_cfg
from ultralytics.utils import DEFAULT_CFG_DICT, DEFAULT_CFG_PATH

from moat_det.data.seeds import SEEDS
from moat_det.errors import UserError
from moat_det.messages import as_given, one_line
from moat_det.options import Option, hint, read_types
from moat_det.paths import cfg_dir, expand_home
from moat_det.values import is_count

# The command decides both.
_FIXED = ("task", "mode")
# Where the engine takes more, or less, than its comment says.
_TYPES = {"imgsz": "int | list[int] | native | auto", "resume": "bool | str"}
# The least values that the engine does not check, and fails on later.
_LEAST = {"line_width": 1, "workers": 0, "close_mosaic": 0, "warmup_epochs": 0, "time": 0}
# Numbers to the engine that may be texts or several numbers to us.
_MORE = ("conf", "imgsz")
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
            raise UserError(f"unknown argument {as_given(name)}{hint(str(name), known)}")


def settle(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the values of keyword arguments, and give them as everything after takes them.

    A `~` is the home folder in all of them, and a list of one class may be given as that class.

    Args:
        given: Those of the Python API, of the command line or of a YAML.

    Raises:
        UserError: A value is of the wrong type, or out of its range.
    """
    settled = {name: _plain(expand_home(value)) for name, value in given.items()}
    if settled.get("embed") is not None:
        raise UserError(f"--embed {_spelled(settled['embed'])}: is not supported; leave it out")
    if settled.get("classes") is not None:
        classes = settled["classes"]
        settled["classes"] = _class_numbers(classes if isinstance(classes, (list, tuple, set, range)) else [classes])
    for name, value in settled.items():
        # Ours are checked where they are taken, and so is what is more than a number.
        more = name in _MORE and isinstance(value, (list, tuple, dict, str))
        if name not in DEFAULT_CFG_DICT or more:
            continue
        try:
            _checked(name, value)
        except (TypeError, ValueError) as error:
            raise UserError(f"--{name.replace('_', '-')} {as_given(value)}: {error}") from None
    for name, least in _LEAST.items():
        value = settled.get(name)
        if isinstance(value, (int, float)) and value < least:
            raise UserError(f"--{name.replace('_', '-')} {as_given(value)}: must be {least} or more")
    if isinstance(settled.get("seed"), int) and settled["seed"] >= SEEDS:
        raise UserError(f"--seed {as_given(settled['seed'])}: must be below {SEEDS}")
    return settled


def check_batch(batch: Any) -> None:
    """Check the images of a batch in validation and detection, where none is chosen for the user.

    Raises:
        UserError: It is no whole number above 0.
    """
    if batch is not None and not is_count(batch):
        raise UserError(f"--batch {as_given(batch)}: must be a whole number of images, 1 or more")


def check_training_batch(batch: Any) -> None:
    """Check the images of a batch in training.

    Raises:
        UserError: It is neither a number above 0, nor a share of a GPU's memory, nor -1, which tries what fits.
    """
    whole = is_count(batch, -1) and batch != 0
    if batch is not None and not whole and not (isinstance(batch, float) and 0 < batch < 1):
        raise UserError(
            f"--batch {as_given(batch)}: must be a number of images, 1 or more; or -1, or a share of the GPU's memory "
            "such as 0.7"
        )


def check_training(given: Mapping[str, Any]) -> None:
    """Check arguments that mean something to the engine's trainer and nothing to ours.

    Raises:
        UserError: Checkpoints are not to be saved, or another model, or integers, are to be trained with.
    """
    if given.get("save") is False:
        raise UserError("--save false: the checkpoints are a training's result, and what it goes on from; leave it out")
    for name in ("distill_model", "quantize"):
        if given.get(name) is not None:
            flag = f"--{name.replace('_', '-')} {_spelled(given[name])}"
            raise UserError(f"{flag}: is not supported in training; leave it out")


def _plain(value: Any) -> Any:
    """Give the numbers of NumPy and torch, single ones and lists, as Python's own."""
    return value.tolist() if hasattr(value, "tolist") and hasattr(value, "dtype") else value


def _class_numbers(values: Iterable[Any]) -> list[int]:
    numbers = list(values)
    for number in numbers:
        if isinstance(number, bool) or not hasattr(number, "__index__") or int(number) < 0:
            raise UserError(f"--classes {_spelled(numbers)}: must be numbers of classes, 0 or more")
    return [int(number) for number in numbers]


def _spelled(value: Any) -> str:
    return one_line(" ".join(map(as_given, value))) if isinstance(value, (list, tuple)) else as_given(value)


def _checked(name: str, value: Any) -> Any:
    """Give the value in the engine's range, as the engine takes it."""
    checked = {name: value}
    try:
        check_cfg(checked)
    except (TypeError, ValueError) as error:
        # The engine's first sentence repeats name and value; what is allowed follows.
        raise ValueError(str(error).partition(". ")[2] or str(error)) from error
    return checked[name]
