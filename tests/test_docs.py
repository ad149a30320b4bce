"""What the documentation names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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


def test_the_table_of_extras_names_those_that_there_are() -> None:
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[project.optional-dependencies]\n")[1]
    extras = re.findall(r"^(\w+) = \[", declared.split("\n[")[0], re.MULTILINE)
    table = (ROOT / "docs" / "install.md").read_text(encoding="utf-8").split("| extra |")[1].split("\n\n")[0]
    named = [name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(extras)
