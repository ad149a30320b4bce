"""Parts of messages about what a user's file holds."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any

_LONGEST_NAME = 4096  # characters, the longest path that Linux opens


def suggest(word: str, choices: Iterable[Any]) -> str:
    """Give " (did you mean '...'?)" for the choice nearest to `word`; empty if none is near."""
    close = difflib.get_close_matches(word[:60], [str(choice) for choice in choices], n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def shown(value: Any) -> str:
    """A value as Python writes it, however large or deep it is: cut to a few words, in one line."""
    try:
        return reprlib.repr(value)
    except ValueError:  # a whole number of thousands of digits
        return f"a huge {type(value).__name__}"


def is_plain(value: Any) -> bool:
    """Whether a value is a text that can be a name or a path: not empty, no control character, not endless."""
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST_NAME:
        return False
    return not any(character < " " or "\ud800" <= character <= "\udfff" for character in value)
