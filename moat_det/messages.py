"""Parts of messages about what a user wrote or what a user's file holds."""

from __future__ import annotations

import difflib
import errno
import reprlib
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any

_LONGEST_NAME = 4096  # characters, the longest path that Linux opens
_LONGEST_LINE = 400  # characters of a text in a message
_LONGEST_WORD = 80  # characters of a value
# What the system says of a place where no file can be made, and what helps.
_WAYS_OUT = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space or choose another place"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "get the permission or choose another place"),
    errno.EROFS: "choose another place",
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR), "a file stands where a folder is needed: choose another place"),
    errno.EISDIR: "a folder stands where a file is needed: choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
}


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
    """Give a value as Python writes it, however large or deep it is: cut to a few words, in one line.

    Of arrays, tensors and bytes the size is given.
    """
    try:
        return " ".join(_Short().repr(value).split())
    except ValueError:  # a whole number of thousands of digits
        return f"a huge {type(value).__name__}"


def as_given(value: Any) -> str:
    """Give what a user wrote: a text, a path or a number as it is, anything else as `shown` does."""
    plain = isinstance(value, (str, PurePath)) or (isinstance(value, (int, float)) and not isinstance(value, bool))
    try:
        return one_line(value) if plain else shown(value)
    except ValueError:  # a whole number of thousands of digits
        return shown(value)


def as_number(value: float) -> str:
    """Give a number of six digits, and whole where it has more of them, up to fifteen, before the point."""
    text = f"{value:g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < 1e15 else text


def way_out(error: OSError) -> str | None:
    """Give what a user can do about a file that the system did not let us make; None where the place is no reason."""
    return _WAYS_OUT.get(error.errno) if error.errno is not None else None


def one_line(text: Any) -> str:
    """Give a text, such as the reason that a library names, in one line; an endless one ends at a word and in dots."""
    words = " ".join(str(text).split())
    if len(words) <= _LONGEST_LINE:
        return words
    head = words[:_LONGEST_LINE]
    return f"{head.rpartition(' ')[0] or head} ..."


class _Short(reprlib.Repr):
    """Short forms of values, those of arrays and bytes without their content."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = _LONGEST_WORD

    def repr_instance(self, x: Any, level: int) -> str:
        if isinstance(x, (bytes, bytearray, memoryview)):
            return f"{len(x)} bytes"
        if hasattr(x, "shape") and hasattr(x, "dtype"):
            return f"{type(x).__name__} {tuple(x.shape)} of {x.dtype}"
        return super().repr_instance(x, level)


def is_plain(value: Any) -> bool:
    """Whether a value is a text that can be a name or a path: not empty, no control character, not endless."""
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST_NAME:
        return False
    return not any(character < " " or "\ud800" <= character <= "\udfff" for character in value)
