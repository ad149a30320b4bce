"""Fonts for names in any script: the one that matplotlib brings along, and an installed one for letters it lacks."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

logger = logging.getLogger(__name__)

_DEFAULT = "DejaVu Sans"
# Scripts by the first word of their letters' names in Unicode, and the Debian package that draws them.
_PACKAGES = {**dict.fromkeys(("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO"), "fonts-noto-cjk")}
_OTHER_PACKAGE = "fonts-noto-core"

_said: set[str] = set()  # letters that no font has, once their user knows


def font_file(texts: Iterable[str]) -> Path:
    """Give the font that draws the most letters of `texts`: matplotlib's own where it has them all.

    What no installed font has is said once.
    """
    letters = frozenset(letter for text in texts for letter in text if letter.isprintable() and not letter.isspace())
    return _choose(letters)


def families(texts: Iterable[str]) -> list[str]:
    """Give the families by which matplotlib draws `texts`, as its setting `font.family` takes them."""
    file = font_file(texts)
    if file == _default_file():
        return [_DEFAULT]
    font_manager.fontManager.addfont(file)
    return [_DEFAULT, font_manager.FontProperties(fname=str(file)).get_name()]


@cache
def _choose(letters: frozenset[str]) -> Path:
    default = _default_file()
    missing = letters - _drawn_by(default, letters)
    if not missing:
        return default
    # A stable order, and among equals the plainest name: NotoSansCJK-Regular before NotoSansCJK-Black.
    files = sorted(map(Path, font_manager.findSystemFonts()), key=lambda file: ("Regular" not in file.name, str(file)))
    drawn = {file: _drawn_by(file, letters) for file in files}
    # Letters that the default lacks count first.
    best = max(files, key=lambda file: (len(drawn[file] & missing), len(drawn[file])), default=default)
    if not drawn.get(best, set()) & missing:
        best = default
    lost = "".join(sorted(missing - drawn.get(best, set()) - _said))
    if lost:
        _said.update(lost)
        logger.warning(
            f"no installed font draws {lost[:20]}{'...' if len(lost) > 20 else ''} of the class names, which will be "
            f"empty boxes in pictures: install one (apt install {_package(lost)}), or put a font file, such as "
            "NotoSansCJK-Regular.ttc, into ~/.local/share/fonts"
        )
    return best


def _package(letters: str) -> str:
    scripts = {unicodedata.name(letter, "?").split()[0] for letter in letters}
    return " ".join(sorted({_PACKAGES.get(script, _OTHER_PACKAGE) for script in scripts}))


def _drawn_by(file: Path, letters: Iterable[str]) -> set[str]:
    try:
        known = FT2Font(str(file)).get_charmap()
    except (OSError, RuntimeError):  # a damaged file, or a format that matplotlib does not read
        return set()
    return {letter for letter in letters if ord(letter) in known}


def _default_file() -> Path:
    return Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
