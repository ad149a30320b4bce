"""Print how large each room of the package is, and which modules import the engine: `python -m tools.count_rooms`."""

from __future__ import annotations

import argparse
import ast
import statistics
import tokenize
from dataclasses import dataclass
from pathlib import Path

ENGINE = "ultralytics"
_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}


@dataclass(frozen=True)
class Module:
    """What is counted of a file.

    Attributes:
        path: The file.
        lines: All of its lines.
        code: Lines that hold code: neither blank, nor comment, nor docstring.
        engine: Whether it imports the engine.
    """

    path: Path
    lines: int
    code: int
    engine: bool


def read_module(path: Path) -> Module:
    """Count the lines of a Python file."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    with path.open("rb") as file:
        tokens = [token for token in tokenize.tokenize(file.readline) if token.type not in _NO_CODE]
    code = {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(tree):  # docstrings, and the texts that stand under a constant
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            code -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    imported = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    uses_engine = any(name.split(".")[0] == ENGINE for name in imported)
    return Module(path, len(text.splitlines()), len(code - {0}), uses_engine)


def row(name: str, modules: list[Module]) -> str:
    """Give a room's row of the table."""
    largest = max(modules, key=lambda module: module.lines)
    cells = (
        name,
        len(modules),
        sum(module.lines for module in modules),
        sum(module.code for module in modules),
        f"{largest.lines} ({largest.path.name})",
        f"{statistics.median(module.lines for module in modules):g}",
        sum(module.engine for module in modules),
    )
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Print the table, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--root", type=Path, default=Path(), help="a checkout (default: this folder)")
    root = parser.parse_args().root
    rooms: dict[str, list[Module]] = {}
    for path in sorted((root / "moat_det").rglob("*.py")):
        parts = path.relative_to(root / "moat_det").parts
        rooms.setdefault(parts[0] if len(parts) > 1 else "(open to all)", []).append(read_module(path))
    for room in ("tools", "tests"):
        rooms[f"{room}/"] = [read_module(path) for path in sorted((root / room).rglob("*.py"))]
    package = [module for name, modules in rooms.items() if not name.endswith("/") for module in modules]
    print("| room | files | lines | of code | largest file | median file | import the engine |")
    print("|---|---|---|---|---|---|---|")
    for name, modules in rooms.items():
        if not name.endswith("/"):
            print(row(name, modules))
    print(row("**moat_det**", package))
    for name in ("tools/", "tests/"):
        print(row(name, rooms[name]))


if __name__ == "__main__":
    main()
