"""What the documentation names is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from moat_det.cli.command import load_command
from moat_det.cli.parser import parse

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("*/README.md")]
OURS = "(?:moat_det|backbones|benchmark|cfg|checks|cli|data|demo|detector|docs|engine|evaluation|report|tests|tools)"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_is_named_is_there(page: Path) -> None:
    named = re.findall(rf"`({OURS}/[\w./-]*)`", page.read_text(encoding="utf-8"))
    absent = {name for name in named if not any((place / name).exists() for place in (ROOT, ROOT / "moat_det"))}
    assert absent == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_tool_that_is_named_is_there(page: Path) -> None:
    named = set(re.findall(r"python -m tools\.([a-z]\w*)", page.read_text(encoding="utf-8")))
    assert {name for name in named if not (ROOT / "tools" / f"{name}.py").exists()} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_is_shown_is_accepted(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = [line.strip() for block in re.findall(r"```\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    inline = [" ".join(words.split()) for words in re.findall(r"`(moat [^`]+)`", text)]
    for shown in [*blocks, *inline]:
        command = re.match(r"moat ([a-z-]+) (--(?!help).*|[^-].*)", shown)
        if command and command[1].islower():
            # What a loop of the shell fills in.
            words = command[2].replace("$model", "--backbone tiny_moat0").replace("$seed", "0").replace("$window", "14")
            parse(load_command(command[1]), shlex.split(words, comments=True))
