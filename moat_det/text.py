"""Text files of users: dataset YAMLs, lists of images, labels, JSONs, XML files."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from moat_det.files import check_is_file

# The longer marks first: that of UTF-32 begins as that of UTF-16 does.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_UTF_8 = "utf-8-sig"
_DECLARED = re.compile(rb"""\s*<\?xml\b[^>]*?\bencoding\s*=\s*["']([\w.:-]+)["']""")
SAVE_AS_UTF_8 = "save it as UTF-8"
"""The way out where `NotTextError` is raised."""


class NotTextError(ValueError):
    """A file is no text in an encoding that is known for certain; says where, in a few words."""


def read_text(file: str | Path) -> str:
    """Read a text file in UTF-8, or in UTF-16 or UTF-32 with the mark that editors put at its beginning.

    Other encodings, such as GBK and Latin-1, cannot be told apart, and a wrong guess would give wrong names.

    Raises:
        NotTextError: It is in another encoding, or no text.
        OSError: It cannot be read.
    """
    content = _content(file)
    return _decode(content, _marked(content) or _UTF_8)


def read_utf8(file: str | Path) -> str:
    """Read a text file in UTF-8 alone; raises as `read_text` does."""
    content = _content(file)
    if encoding := _marked(content):
        raise NotTextError(f"it is in {encoding.upper()}")
    return _decode(content, _UTF_8)


def read_xml_text(file: str | Path) -> str:
    """Read an XML file in the encoding that it declares, else as `read_text` does; raises as that does."""
    content = _content(file)
    declared = _DECLARED.match(content.removeprefix(codecs.BOM_UTF8))
    return _decode(content, _marked(content) or (declared[1].decode() if declared else _UTF_8))


def _content(file: str | Path) -> bytes:
    check_is_file(file)
    return Path(file).read_bytes()


def _marked(content: bytes) -> str | None:
    return next((encoding for mark, encoding in _MARKS.items() if content.startswith(mark)), None)


def _decode(content: bytes, encoding: str) -> str:
    shown = "UTF-8" if encoding == _UTF_8 else encoding.upper()
    try:
        text = content.decode(encoding)
    except UnicodeError as error:
        line = content[: getattr(error, "start", 0)].count(b"\n") + 1
        raise NotTextError(f"line {line} is not in {shown}") from error
    except LookupError as error:
        raise NotTextError(f"the encoding {shown} is not known") from error
    if "\0" in text:
        raise NotTextError(
            f"line {text[: text.index(chr(0))].count(chr(10)) + 1} holds a NUL, as no text in {shown} does"
        )
    return text.removeprefix("\ufeff")
