"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def markdown(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Give a Markdown table, aligned for the terminal."""
    widths = [max(len(line[i]) for line in (heading, *rows)) for i in range(len(heading))]
    lines = [heading, ["-" * width for width in widths], *rows]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in lines
    )
