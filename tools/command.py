"""How a tool starts and ends: the exit code of its work, or one line for a mistake of who runs it."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from moat_det.errors import UserError


def make_parser(description: str) -> argparse.ArgumentParser:
    """Make a parser that shows defaults and takes no abbreviations."""
    return argparse.ArgumentParser(
        description=description, allow_abbrev=False, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )


def command(main: Callable[[Sequence[str] | None], int]) -> Callable[..., int]:
    """Let a `main(argv)`, which gives the exit code, end in one line and exit code 2 at an error that a user can mend.

    These are a `UserError`, and an `OSError`: a file that cannot be read or written.
    """
    name = Path(main.__code__.co_filename).stem

    @functools.wraps(main)
    def run(argv: Sequence[str] | None = None) -> int:
        try:
            return main(argv)
        except (UserError, OSError) as error:
            print(f"{name}: error: {' '.join(str(error).split())}", file=sys.stderr)
            return 2

    return run
