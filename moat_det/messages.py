"""Parts of messages about what a user wrote or what a user's file holds."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Sequence
from typing import Any

_LONGEST_NAME = 4096  # characters, the longest path that Linux opens


def nearest(word: str, choices: Iterable[Any], cutoff: float = 0.6) -> str | None:
    """Give the choice that is most like `word`, by `difflib`'s measure; None if none reaches `cutoff`, 0 to 1."""
    close = difflib.get_close_matches(word[:60], [str(choice) for choice in choices], n=1, cutoff=cutoff)
    return close[0] if close else None


def suggest(word: str, choices: Iterable[Any]) -> str:
    """Give " (did you mean '...'?)" for the choice nearest to `word`; empty if none is near."""
    near = nearest(word, choices)
    return f" (did you mean '{near}'?)" if near else ""


def some(words: Sequence[str], limit: int, separator: str = ", ") -> str:
    """Join words, of which no more than `limit` are shown: "a, b and 3 more"."""
    more = f" and {len(words) - limit} more" if len(words) > limit else ""
    return separator.join(words[:limit]) + more


def shown(value: Any) -> str:
    """Give a value as Python writes it, however large or deep it is: cut to a few words, in one line."""
    try:
        return reprlib.repr(value)
    except ValueError:  # a whole number of thousands of digits
        return f"a huge {type(value).__name__}"


def is_plain(value: Any) -> bool:
    """Whether a value is a text that can be a name or a path: not empty, no control character, not endless."""
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST_NAME:
        return False
    return not any(character < " " or "\ud800" <= character <= "\udfff" for character in value)
