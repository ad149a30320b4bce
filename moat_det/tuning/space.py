"""What is searched: a YAML of arguments of `moat train`, each with a range or choices, and its default."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moat_det.data.augment.presets import load_preset
from moat_det.engine.arguments import engine_options, settle, training_defaults
from moat_det.engine.train_options import TrainOptions
from moat_det.errors import UserError
from moat_det.messages import shown, suggest
from moat_det.options import options_of
from moat_det.paths import cfg_dir
from moat_det.strict_yaml import read_yaml
from moat_det.values import is_number

_RANGE = frozenset({"low", "high", "log"})
_DIGITS = 3  # of the values that are tried


@dataclass(frozen=True)
class Parameter:
    """An argument of a training that is searched.

    Attributes:
        name: Of the argument.
        default: Its value where nobody gives one; None where it is left out.
        low: Least value of a range, None where there are choices.
        high: Greatest value of a range.
        log: Whether the range is gone through by factors.
        choices: The values where there is no range; None among them leaves the argument out.
    """

    name: str
    default: Any
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()

    def suggest(self, trial: Any) -> Any:
        """Give the value of a trial of Optuna's; of a range, with three digits of the value or of the range's width.

        The finer of the two: near 1 the values of a narrow range, such as that of `ema`, differ in later digits. The
        default is given as it is, since the trial that has it is the one that others are compared with.
        """
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        assert self.low is not None
        assert self.high is not None
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(self.name, self.low, self.high, log=self.log)
        value = trial.suggest_float(self.name, self.low, self.high, log=self.log)
        if value in (0, self.default):
            return value
        scale = min(abs(value), self.high - self.low)
        rounded = round(value, _DIGITS - 1 - math.floor(math.log10(scale)))
        return min(max(rounded, self.low), self.high)


def default_space() -> Path:
    """Give the YAML of what is searched where the user names none."""
    return cfg_dir() / "tuning" / "default.yaml"


def read_space(file: Path, given: Mapping[str, Any], refused: Mapping[str, str]) -> list[Parameter]:
    """Read what is searched.

    Args:
        file: The YAML: names of arguments, and of each `low` and `high`, perhaps `log: true`, or `choices`.
        given: Arguments that the user has decided; they are not searched.
        refused: Names that cannot be searched, and why.

    Raises:
        UserError: The file cannot be read, holds what cannot be searched, or nothing is left to search.
    """
    content = read_yaml(file)
    if not isinstance(content, dict) or not content:
        raise UserError(f"{file}: must name arguments of moat train, such as 'lr0: {{low: 0.0002, high: 0.005}}'")
    defaults = default_values(given)
    for name in content:
        if name in refused:
            raise UserError(f"{file}: {name} cannot be searched: {refused[name]}")
        if name not in defaults:
            raise UserError(f"{file}: {shown(name)} is no argument of moat train{suggest(str(name), defaults)}")
    found = [_parameter(file, name, content[name], defaults[name]) for name in content if name not in given]
    if not found:
        raise UserError(f"{file}: nothing is left to search; leave out {', '.join(f'--{name}' for name in content)}")
    return found


def default_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """Give what each argument of a training is where the user says nothing of it; None: as another one is."""
    own = {name: option.default for name, option in options_of(TrainOptions).items()}
    engine = {name: option.default for name, option in engine_options().items()}
    preset = load_preset(given["augmentation"]).engine if given.get("augmentation") else {}
    return {**engine, **own, **training_defaults(), **preset, "nbs": None}  # it follows the batch


def _parameter(file: Path, name: str, content: Any, default: Any) -> Parameter:
    place = f"{file}: '{name}: {shown(content)}'"
    keys = set(content) if isinstance(content, dict) else set()
    if keys == {"choices"}:
        choices = content["choices"]
        if not isinstance(choices, list) or len(choices) < 2 or not all(map(_is_plain, choices)):
            raise UserError(f"{place}: give two choices or more, numbers, words, true, false or null")
        found = Parameter(name, default, choices=tuple(choices))
        holds = any(value == default and isinstance(value, bool) == isinstance(default, bool) for value in choices)
    elif {"low", "high"} <= keys <= _RANGE:
        low, high, log = content["low"], content["high"], content.get("log", False)
        if not (is_number(low) and is_number(high) and low < high) or not isinstance(log, bool) or (log and low <= 0):
            raise UserError(f"{place}: give numbers, low below high, with 'log: true' above 0")
        if not isinstance(default, int) and not (isinstance(low, int) and default is None):
            low, high = float(low), float(high)
        found = Parameter(name, default, low, high, log)
        holds = is_number(default) and low <= default <= high
    else:
        raise UserError(f"{place}: write {{low: A, high: B}}, perhaps with 'log: true', or {{choices: [A, B]}}")
    for value in found.choices or (low, high):
        check_value(place, name, value)
    if not holds:
        raise UserError(
            f"{place}: must hold the default, {'null' if default is None else default}: it is the first trial"
        )
    return found


def check_value(place: str, name: str, value: Any) -> None:
    """Refuse a value of an argument that a training would refuse; None leaves the argument out.

    Args:
        place: What the message begins with.
        name: Of the argument.
        value: To be checked.

    Raises:
        UserError: A training would refuse it.
    """
    try:
        if value is None:
            return
        if name == "augmentation":
            load_preset(value)
        elif name in options_of(TrainOptions):
            TrainOptions({}, **{name: value})
        else:
            settle({name: value})
    except UserError as error:
        raise UserError(f"{place}: {error}") from None


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, str)) or is_number(value)
