"""What a message names is there for a user of the wheel: no file that only a checkout has, and no unknown command."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import moat_det
from moat_det.cli.command import COMMANDS, load_command
from moat_det.cli.parser import parse
from moat_det.detector.config import config_names

PACKAGE = Path(moat_det.__file__).parent
OF_A_CHECKOUT = re.compile(r"\b(?:tools|docs|cfg|tests)/|\b(?:train|val|detect|\w+_\w+)\.py\b|\bmake \w+ demo\b")


def strings(file: Path) -> Iterator[tuple[int, str]]:
    """The texts in a module, and their lines; docstrings are none."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def test_no_message_names_a_file_of_a_checkout() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 100
    found = [
        f"{file.relative_to(PACKAGE)}:{line}: {text}"
        for file in files
        for line, text in strings(file)
        if OF_A_CHECKOUT.search(text)
    ]
    assert not found


def test_every_command_that_a_message_names_is_there() -> None:
    named = {
        word
        for file in PACKAGE.rglob("*.py")
        for _, text in strings(file)
        for word in re.findall(r"(?<![\w`])moat ([a-z][\w-]+)", text)
    }
    assert {"train", "check", "convert"} <= named <= {name.split()[0] for name in COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_the_help_are_accepted(name: str) -> None:
    command = load_command(name)
    assert command.name == name
    assert command.examples
    for example in command.examples:
        words = example.replace("'", "").split()
        called = name.split()
        assert words[: len(called)] == called
        parse(command, words[len(called) :])


def test_every_model_that_a_message_names_is_there() -> None:
    names = {
        name
        for file in PACKAGE.rglob("*.py")
        for _, text in strings(file)
        for name in re.findall(r"\b(?:tiny_)?moat\d-p\d\b", text)
    }
    assert {"tiny_moat0-p2", "tiny_moat2-p2", "tiny_moat2-p6"} <= names <= set(config_names())
