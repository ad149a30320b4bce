"""The command `moat`: chooses a subcommand and imports no other."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import moat_det
from moat_det.cli.command import COMMANDS, TRAINING, load_command, split_command
from moat_det.cli.parser import parse
from moat_det.cli.runner import end_well, show_log
from moat_det.cores import wait_briefly
from moat_det.errors import UserError
from moat_det.options import hint


def main(argv: Sequence[str] | None = None) -> None:
    """`moat`: run a subcommand; see `--help`."""
    words = list(sys.argv[1:] if argv is None else argv)
    name = ""

    def overview() -> None:
        nonlocal name
        name, _ = split_command(words)
        if not name:
            _overview(words)

    code = end_well("moat", overview, debug=False)
    _exit(run(name, words[len(name.split()) :]) if name else code)


def train(argv: Sequence[str] | None = None) -> None:
    """`moat-train`, `train.py`: `moat train`."""
    _exit(run("train", sys.argv[1:] if argv is None else argv))


def val(argv: Sequence[str] | None = None) -> None:
    """`moat-val`, `val.py`: `moat val`."""
    _exit(run("val", sys.argv[1:] if argv is None else argv))


def detect(argv: Sequence[str] | None = None) -> None:
    """`moat-detect`, `detect.py`: `moat detect`."""
    _exit(run("detect", sys.argv[1:] if argv is None else argv))


def run(name: str, words: Sequence[str]) -> int:
    """Run the subcommand `name` with the words after it; gives the exit code."""

    def action() -> int | None:
        _check_current_folder()
        if name in TRAINING:
            wait_briefly()
        command = load_command(name, words)
        show_log()
        return command.run(parse(command, words))

    return end_well(name, action, debug=_debugging(words))


def _check_current_folder() -> None:
    try:
        os.getcwd()
    except FileNotFoundError:  # in which torch's libraries end the process
        raise UserError("the current folder is no longer there; change to one that is") from None


def _debugging(words: Sequence[str]) -> bool:
    """Say whether errors are let through, which holds while the command line is read too."""
    for place, word in enumerate(words, start=1):
        name, equals, value = word.partition("=")
        if name == "--debug":
            return (value if equals else "".join(words[place : place + 1])).lower() != "false"
    return False


def _overview(words: Sequence[str]) -> None:
    """Say what there is, where `moat` is given no subcommand."""
    if not words:
        raise UserError(f"name a command: {', '.join(COMMANDS)} (see --help)")
    if words[0] == "--version":
        print(f"moat_det {moat_det.__version__}")
    elif words[0] in {"-h", "--help"} or any(name.startswith(f"{words[0]} ") for name in COMMANDS):
        first = "" if words[0] in {"-h", "--help"} else f"{words[0]} "
        print(f"usage: moat {first}COMMAND ...\n\nDefect detection on the MOAT backbone.\n\ncommands:")
        for name, purpose in COMMANDS.items():
            if name.startswith(first):
                print(f"  {name:<18}{purpose}")
        print("\nmoat COMMAND --help lists all that a command takes.")
    else:
        raise UserError(f"unknown command {words[0]}{hint(words[0], COMMANDS)} (see --help)")


def _exit(code: int) -> None:
    if code:
        sys.exit(code)
