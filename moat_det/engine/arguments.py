"""From the words of a command line to the engine's arguments and ours."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ultralytics.cfg import check_cfg
from ultralytics.utils import DEFAULT_CFG_DICT

import moat_det
from moat_det.engine.help import USAGE, help_text
from moat_det.engine.options import OWN, Command, Option, options
from moat_det.errors import UserError

# Keywords that the engine's Python API takes beside its configuration.
_PYTHON_ONLY = ("augmentations", "save_dir")
# Names that people know from elsewhere and that no likeness leads to the right one.
_HINTS = {
    "half": "it is quantize 16 now",
    "int8": "it is quantize 8 now",
    "task": "leave it out, everything here is detection",
    "mode": "leave it out, the script is the mode",
}
_NEGATIVE_NUMBER = re.compile(r"-\.?\d")
_WORDS = {
    "bool": "true or false",
    "int": "an integer",
    "float": "a number",
    "str": "text",
    "list[int]": "several integers",
    "list": "several values",
    "tuple": "several values",
}


@dataclass(frozen=True)
class Arguments:
    """What the user gave, and only that.

    Attributes:
        engine: The engine's arguments under its own names, parsed and type-checked.
        own: Our options, those of `options.OWN`.
        debug: Show tracebacks.
    """

    engine: dict[str, Any]
    own: dict[str, Any]
    debug: bool


def parse_arguments(command: Command, argv: Sequence[str]) -> Arguments:
    """Parse a command line.

    Args:
        command: Whose options are accepted.
        argv: The words after the script's name.

    Raises:
        UserError: A name is unknown, a value missing or wrong, a needed option absent, or two are at odds.
        SystemExit: With code 0, after `--help` or `--version` have been printed.
    """
    if not argv:
        raise UserError(f"usage: {USAGE[command]} (see --help)")
    if "-h" in argv or "--help" in argv:
        print(help_text(command))
        raise SystemExit(0)
    if "--version" in argv:
        print(f"moat_det {moat_det.__version__}")
        raise SystemExit(0)

    given: dict[str, Any] = {}
    for option, texts in _split(command, argv):
        name, value = option.name, _value(option, texts)
        if name == "pretrained" and isinstance(value, str):
            name = "weights"
        if name in given and given[name] != value:
            raise UserError(f"--{name.replace('_', '-')} is given twice: {given[name]} and {value}; keep one")
        given[name] = value
    _check_combination(command, given)

    debug = given.pop("debug", False)
    names = {option.name for option in OWN[command]}
    return Arguments(
        engine={name: value for name, value in given.items() if name not in names},
        own={name: value for name, value in given.items() if name in names},
        debug=debug,
    )


def check_overrides(overrides: Mapping[str, Any], own: Collection[str]) -> None:
    """Refuse keyword arguments of the Python API that neither the engine nor we know.

    Args:
        overrides: The keyword arguments.
        own: The names that are ours.

    Raises:
        UserError: A name is unknown; the message gives the nearest right one.
    """
    known = [*DEFAULT_CFG_DICT, *_PYTHON_ONLY, *own]
    for name in overrides:
        if name not in known:
            raise UserError(f"unknown argument {name}{_nearest(name, known, prefix='')}")


def _split(command: Command, argv: Sequence[str]) -> list[tuple[Option, list[str]]]:
    """Group the words into options, each with the texts of its values."""
    known = options(command)
    groups: list[tuple[Option, list[str]]] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if not _is_option(word):
            raise UserError(_stray(word, groups[-1][0] if groups else None, known))
        flag, equals, inline = word.partition("=")
        name = flag.lstrip("-").replace("-", "_")
        if name not in known or not flag.startswith("--"):
            raise UserError(f"unknown option {_unknown(command, flag, name, known)} (see --help)")
        option = known[name]
        texts = [inline] if equals else []
        while words and not equals and not _is_option(words[0]) and (option.many or not texts):
            texts.append(words.pop(0))
        if not all(texts) or not (texts or option.bare):
            raise UserError(f"{option.flag} needs a value, {_allowed(option)} (see --help)")
        groups.append((option, texts))
    return groups


def _is_option(word: str) -> bool:
    return word.startswith("-") and not _NEGATIVE_NUMBER.match(word)


def _stray(word: str, before: Option | None, known: Mapping[str, Option]) -> str:
    """What to say of a word that belongs to no option."""
    name, equals, value = word.partition("=")
    if equals and (option := known.get(name.replace("-", "_"))):
        return f"unexpected '{word}': write {option.flag} {value}"
    if before and before.name == "source":
        return f"unexpected '{word}': --source takes one value; quote a glob: --source 'images/*.png'"
    if before and not before.many:
        return f"unexpected '{word}': {before.flag} takes one value (see --help)"
    return f"unexpected '{word}': write every argument as --name value, e.g. --data defects.yaml (see --help)"


def _unknown(command: Command, flag: str, name: str, known: Mapping[str, Option]) -> str:
    for other in OWN:
        if name not in known and any(option.name == name for option in OWN[other]):
            return f"{flag} of {command}.py: it belongs to {other}.py"
    if name.startswith("no_") and (option := known.get(name.removeprefix("no_"))):
        return f"{flag}: did you mean {option.flag} false?"
    return flag + _nearest(name, known, prefix="--")


def _nearest(name: str, known: Collection[str], prefix: str) -> str:
    """The tail of a message about an unknown name: a hint, the nearest known name, or nothing."""
    if name in _HINTS:
        return f": {_HINTS[name]}"
    # A typing slip first, then an abbreviation (epo) or another program's longer name (batch_size).
    similar = (
        get_close_matches(name, known, n=1, cutoff=0.8)
        or [other for other in known if other.startswith(name) or name.startswith(f"{other}_")]
        or get_close_matches(name, known, n=1)
    )
    if not name or not similar:
        return ""
    right = similar[0].replace("_", "-") if prefix else similar[0]
    return f": did you mean {prefix}{right}?"


def _value(option: Option, texts: list[str]) -> Any:
    """The value that the texts spell, of a type that the option takes and in the engine's range."""
    text = ",".join(texts)
    value = _parse(option, text) if texts else True
    if not _fits(option, value):
        raise UserError(f"{option.flag} {text}: must be {_allowed(option)}")
    checked = {option.name: value}
    try:
        check_cfg(checked)
    except (TypeError, ValueError) as error:
        # The engine's first sentence repeats name and value; what is allowed follows.
        raise UserError(f"{option.flag} {text}: {str(error).partition('. ')[2] or error}") from error
    return checked[option.name]


def _parse(option: Option, text: str) -> Any:
    if option.types == {"str"}:
        # A name such as 007 stays as it is written.
        return None if text.lower() == "none" and option.default is None else text
    if option.many and ("," in text or text[0] in "[("):
        return [_scalar(part.strip(" '\"")) for part in text.strip("[]() ").split(",") if part.strip()]
    value = _scalar(text)
    if isinstance(value, float) and value.is_integer() and "float" not in option.types:
        return int(value)
    return [value] if option.types == {"list[int]"} and value is not None else value


def _scalar(text: str) -> bool | int | float | str | None:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if math.isfinite(number):
            return number
    return text


def _fits(option: Option, value: Any) -> bool:
    if value is None:
        return option.default is None
    if isinstance(value, list):
        whole = all(type(part) is int for part in value)
        return option.many and bool(value) and (whole or "list[int]" not in option.types)
    if isinstance(value, str) and value in option.types - _WORDS.keys():
        return True
    kind = type(value).__name__
    return kind in option.types or (kind == "int" and "float" in option.types)


def _allowed(option: Option) -> str:
    return " or ".join(
        _WORDS.get(kind, kind) for kind in sorted(option.types, key=lambda kind: (kind not in _WORDS, kind))
    )


def _check_combination(command: Command, given: Mapping[str, Any]) -> None:
    model = given.get("model")
    if command == "train":
        if model and given.get("backbone"):
            raise UserError("--model and --backbone exclude each other: a model YAML names its own backbone")
        if model and Path(model).suffix not in (".yaml", ".yml"):
            raise UserError(f"--model {model}: must be a model YAML; for a checkpoint use --weights {model}")
        if not any(given.get(name) for name in ("data", "resume", "cfg")):
            raise UserError("train.py needs --data: --data defects.yaml, or --data demo for a first look")
        return
    if model:
        raise UserError(f"--model {model}: use --weights with the path of a trained checkpoint")
    if not given.get("weights"):
        raise UserError(f"{command}.py needs --weights, e.g. --weights runs/train/weights/best.pt")
    if command == "detect" and not given.get("source"):
        raise UserError("detect.py needs --source, e.g. --source images/ or --source part.png")
