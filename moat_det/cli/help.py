"""An argparse parser that knows what a subcommand takes, and shows it in sections."""

from __future__ import annotations

import argparse
import re
import shutil
import textwrap
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NoReturn

import moat_det
from moat_det.cli.command import COMMANDS, Command
from moat_det.errors import UserError
from moat_det.options import Option, options_of

# For other tasks than detection, or said otherwise here: accepted, but no reader needs them explained.
_UNEXPLAINED = (
    "model pretrained overlap_mask mask_ratio dropout retina_masks embed pose kobj rle angle dlog dgrad dlam "
    "copy_paste_mode auto_augment erasing"
)
_WRITING = (
    "Options are written --name value or --name=value, with - or _. A boolean may stand bare, or be given "
    "true or false. Several values are written 0 2 3 or 0,2,3."
)
_REST = "Also accepted, as the engine's own (of other tasks or commands):"


class Parser(argparse.ArgumentParser):
    """argparse, with every value as it was typed: a list of what each option was given, by the option's name."""

    def __init__(self, command: Command) -> None:
        sections = list(_sections(command))
        explained = {option.name for _, options in sections for option in options}
        hidden = [option for name, option in command.known.items() if name not in explained]
        examples = "\n".join(["examples:", *(f"  moat {words}" for words in command.examples)])
        rest = f"{_REST}\n{_fill(' '.join(option.flag for option in hidden), '  ', '  ')}" if hidden else ""
        parts = [COMMANDS[command.name], _fill(command.about), examples if command.examples else "", _fill(_WRITING)]
        super().__init__(
            usage=_fill(usage(command), " " * 7, " " * 7).strip(),
            description="\n\n".join(filter(None, parts)),
            epilog=rest,
            formatter_class=_Formatter,
            argument_default=argparse.SUPPRESS,
            add_help=False,
            allow_abbrev=False,
            exit_on_error=False,
        )
        self._negative_number_matcher = re.compile(r"-\.?\d")  # argparse's own misses -1e-3
        defaults = command.engine.defaults if command.engine else {}
        for title, options in sections:
            group = self.add_argument_group(title)
            for option in options:
                _add(group, option, _text(option, defaults.get(option.name, option.default)))
            if title == "Main":
                group.add_argument("-h", "--help", action="help", help="show this help")
                version = f"moat_det {moat_det.__version__}"
                group.add_argument("--version", action="version", version=version, help="show the version")
        for option in hidden:
            _add(self, option, argparse.SUPPRESS)

    def error(self, message: str) -> NoReturn:
        """End in a line, as every mistake does."""
        raise UserError(message)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=_width())

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        return str(action.metavar or "")

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)


def usage(command: Command) -> str:
    """Give the one line that says how a subcommand is called."""
    words = [command.usage] if command.usage else []
    for option in () if command.usage else options_of(*command.options).values():
        word = option.flag if option.positional else f"{option.flag} {_metavar(option)}".rstrip()
        words.append(word if option.required else f"[{word}]")
    return " ".join([f"moat {command.name}", *words])


def _sections(command: Command) -> Iterable[tuple[str, list[Option]]]:
    """Give the titles of the help and the options under each."""
    own, known, shown = command.own, command.known, command.engine
    debug = own.pop("debug")
    if shown is None:
        yield "Main", [*own.values(), debug]
        return
    main = {
        name: replace(known[name], text=text) for name, text in shown.main.items() if name in known and name not in own
    }
    yield "Main", [*own.values(), *main.values(), debug]
    groups: dict[str, list[Option]] = {"General": []}
    for name, option in known.items():
        if name in own or name in main or name in _UNEXPLAINED.split() or name == "debug":
            continue
        if name in shown.general.split():
            groups["General"].append(option)
        elif option.section in shown.sections:
            groups.setdefault(option.section, []).append(option)
    yield from groups.items()


def _add(group: Any, option: Option, text: str) -> None:
    """Add an option to a parser or a group of one; whether a value is missing is seen later."""
    if option.positional:
        several: dict[str, Any] = {"nargs": "+"} if option.many else {}
        action = group.add_argument(option.name, action="append", metavar=option.metavar, help=text, **several)
        action.required = False
        return
    nargs = "*" if option.many else "?" if option.bare else None
    metavar = _metavar(option)
    group.add_argument(option.flag, dest=option.name, action="append", nargs=nargs, metavar=metavar, help=text)


def _metavar(option: Option) -> str:
    value = option.metavar or "|".join(sorted(option.types)).upper()
    if option.types == {"bool"} and option.default is False:
        return ""
    return f"[{value}]" if option.bare else value


def _text(option: Option, default: Any) -> str:
    if isinstance(default, bool):
        default = str(default).lower()
    if isinstance(default, list):
        default = " ".join(map(str, default)) or None
    return (option.text + ("" if default is None else f" (default: {default})")).replace("%", "%%")


def _fill(text: str, first: str = "", later: str = "") -> str:
    return textwrap.fill(text, _width(), initial_indent=first, subsequent_indent=later, break_on_hyphens=False)


def _width() -> int:
    return min(shutil.get_terminal_size().columns, 120)
