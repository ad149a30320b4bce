"""Text files of users: dataset YAMLs, lists of images, labels, JSONs."""

from __future__ import annotations

import codecs
from pathlib import Path

# The longer marks first: that of UTF-32 begins as that of UTF-16 does.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
SAVE_AS_UTF_8 = "save it as UTF-8"
"""The way out where `NotTextError` is raised."""


class NotTextError(ValueError):
    """A file is no text in an encoding that is known for certain; says where, in a few words."""


def read_text(file: str | Path, marked: bool = True) -> str:
    """Read a text file in UTF-8, or in UTF-16 or UTF-32 with the mark that editors put at its beginning.

    Other encodings, such as GBK and Latin-1, cannot be told apart, and a wrong guess would give wrong names.

    Args:
        file: The file.
        marked: Whether UTF-16 and UTF-32 are accepted too.

    Raises:
        NotTextError: It is in another encoding, or no text.
        OSError: It cannot be read.
    """
    content = Path(file).read_bytes()
    encoding = next((name for mark, name in _MARKS.items() if marked and content.startswith(mark)), "utf-8-sig")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise NotTextError(
            f"line {line} is not in {'UTF-8' if encoding == 'utf-8-sig' else encoding.upper()}"
        ) from error
