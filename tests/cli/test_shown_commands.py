"""Every command that the documentation shows is one that `moat` takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from moat_det.cli.command import COMMANDS, load_command, split_command
from moat_det.cli.parser import parse

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("*/README.md")]


def shown(page: Path) -> list[str]:
    """Give the commands in a page's blocks and lines, without those that only ask for help."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = [line.strip() for block in re.findall(r"```\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    inline = [" ".join(words.split()) for words in re.findall(r"`(moat [^`]+)`", text)]
    lines = [line for line in [*blocks, *inline] if line.removeprefix("moat ") not in COMMANDS]  # named in a sentence
    return [line for line in lines if re.match(r"moat [a-z-]+ (?!--help)\S", line)]


@pytest.mark.parametrize("page", [page for page in PAGES if shown(page)], ids=lambda page: page.name)
def test_every_shown_command_is_accepted(page: Path) -> None:
    for line in shown(page):
        # What a loop of the shell fills in.
        line = line.replace("$model", "--backbone tiny_moat0").replace("$seed", "0").replace("$window", "14")
        name, words = split_command(shlex.split(line, comments=True)[1:])
        parse(load_command(name), words)
