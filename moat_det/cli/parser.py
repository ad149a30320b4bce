"""From the words of a command line to options and their values."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moat_det.cli.command import Arguments, Command, load_command
from moat_det.cli.help import Parser, usage
from moat_det.errors import UserError
from moat_det.options import Option, hint
from moat_det.paths import expand_home

_WORDS = {
    "bool": "true or false",
    "int": "an integer",
    "float": "a number",
    "str": "text",
    "Path": "a path",
    "list[int]": "several integers",
    "list[str]": "several words",
    "list": "several values",
    "tuple": "several values",
}


def parse(command: Command, argv: Sequence[str]) -> Arguments:
    """Parse a command line.

    Args:
        command: Whose options are accepted.
        argv: The words after the command's name.

    Raises:
        UserError: A name is unknown, a value missing or wrong, a needed option absent, or two are at odds.
        SystemExit: With code 0, after `--help` or `--version` have been printed.
    """
    known, own = command.known, command.own
    flags = {option.flag: option for option in known.values()}
    if not argv and (command.engine or any(option.required for option in own.values())):
        raise UserError(f"usage: {usage(command)} (see --help)")
    words = [_dashed(word) for word in argv]
    if "--" in words:
        raise UserError("unknown option -- (see --help)")
    parser = Parser(command)
    try:
        found, rest = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        if error.argument_name not in flags:
            raise UserError(str(error)) from None
        raise UserError(_missing(flags[error.argument_name])) from None
    if rest:
        raise UserError(_refusal(command, rest[0], words, flags))
    given = _values(vars(found), known)
    if command.check:
        command.check(given)
    for option in own.values():
        if option.required and option.name not in given:
            raise UserError(f"moat {command.name} needs {option.flag}: {option.text} (see --help)")
    debug = given.pop("debug", False)
    return Arguments(
        engine={name: value for name, value in given.items() if name not in own},
        own={name: value for name, value in given.items() if name in own},
        debug=debug,
        words=tuple(argv),
    )


def _refusal(command: Command, word: str, words: list[str], flags: Mapping[str, Option]) -> str:
    """Say why a word that no option took is none."""
    flag = word.partition("=")[0]
    if reason := command.refused.get(flag.lstrip("-").replace("-", "_")):
        return f"{flag} with an exported model: {reason}"
    if flag.startswith("-"):
        return f"unknown option {_unknown(command, flag, flags)} (see --help)"
    return _stray(word, words, flags)


def _values(found: Mapping[str, Sequence[Any]], known: Mapping[str, Option]) -> dict[str, Any]:
    """Give the values by the names of their options, each of which may stand several times if it says the same."""
    given: dict[str, Any] = {}
    for name, values in found.items():
        option = known[name]
        for value in values:
            texts = value if isinstance(value, list) else [] if value is None else [value]
            if not all(texts) or not (texts or option.bare):
                raise UserError(_missing(option))
            read = _value(option, texts)
            if name == "pretrained" and isinstance(read, str):
                name = "weights"
            if name in given and given[name] != read:
                raise UserError(f"{known[name].flag} is given twice: {given[name]} and {read}; keep one")
            given[name] = read
    return given


def _dashed(word: str) -> str:
    """Write the word with - for _ in the name of an option."""
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if word.startswith("--") else word


def _missing(option: Option) -> str:
    return f"{option.flag} needs a value, {_allowed(option)} (see --help)"


def _stray(word: str, words: Sequence[str], flags: Mapping[str, Option]) -> str:
    """Say of a word that belongs to no option what is to be written instead."""
    name, equals, value = word.partition("=")
    if equals and (option := flags.get(_dashed(f"--{name}"))):
        return f"unexpected '{word}': write {option.flag} {value}"
    before: Option | None = None
    for last, this in zip(["", *words], words, strict=False):
        before = flags.get(last.partition("=")[0], before)
        if this == word and before and not before.many and last not in flags:
            if before.name == "source":
                return f"unexpected '{word}': --source takes one value; quote a glob: --source 'images/*.png'"
            return f"unexpected '{word}': {before.flag} takes one value (see --help)"
    return f"unexpected '{word}': write every argument as --name value, e.g. --data defects.yaml (see --help)"


def _unknown(command: Command, flag: str, flags: Mapping[str, Option]) -> str:
    name = flag.lstrip("-").replace("-", "_")
    names = {option.name.rstrip("_"): option for option in flags.values() if not option.positional}
    if command.engine and name not in names:
        for other in ("train", "val", "detect"):
            if name in load_command(other).known:
                return f"{flag} of moat {command.name}: it belongs to moat {other}"
    if name.startswith("no_") and (option := names.get(name.removeprefix("no_"))):
        return f"{flag}: did you mean {option.flag} false?"
    return flag + hint(name, names, prefix="--")


def _value(option: Option, texts: list[str]) -> Any:
    """Give the value that the texts spell, of a type that the option takes and in its range."""
    text = ",".join(texts)
    value = _read(option, texts) if texts else True
    if not _fits(option, value):
        raise UserError(f"{option.flag} {text}: must be {_allowed(option)}")
    try:
        return option.check(value) if option.check else value
    except (TypeError, ValueError) as error:
        raise UserError(f"{option.flag} {text}: {error}") from error


def _read(option: Option, texts: list[str]) -> Any:
    if option.types <= {"str", "Path", "list[str]", "bool"}:
        texts = expand_home(texts)
    text = ",".join(texts)
    if option.types == {"list[str]"}:
        return texts
    if option.types <= {"str", "Path"}:
        # A name such as 007 stays as it is written.
        if text.lower() == "none" and option.default is None and not option.required:
            return None
        return Path(text) if "Path" in option.types else text
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
        return option.default is None and not option.required
    if isinstance(value, list):
        whole = all(type(part) is int for part in value)
        return option.many and bool(value) and (whole or "list[int]" not in option.types)
    if isinstance(value, Path) or (isinstance(value, str) and value in option.types - _WORDS.keys()):
        return True
    kind = type(value).__name__
    return kind in option.types or (kind == "int" and "float" in option.types)


def _allowed(option: Option) -> str:
    return " or ".join(
        _WORDS.get(kind, kind) for kind in sorted(option.types, key=lambda kind: (kind not in _WORDS, kind))
    )
