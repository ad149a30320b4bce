"""Names of classes in letters that the usual font lacks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from moat_det.engine import quiet
from moat_det.report import fonts
from moat_det.report.pictures import draw_boxes

NAME = "\u5212\u75d5"  # a scratch


def make_font(path: Path, letters: str) -> Path:
    """Write a font in which each letter is a triangle of its own."""
    builder = FontBuilder(1000)
    names = [".notdef", *(f"letter{number}" for number in range(len(letters)))]
    glyphs = {}
    for number, name in enumerate(names):
        pen = TTGlyphPen(None)
        for corner, step in (((50, 0), pen.moveTo), ((900, 100 * number), pen.lineTo), ((400, 800), pen.lineTo)):
            step(corner)
        pen.closePath()
        glyphs[name] = pen.glyph()
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): name for letter, name in zip(letters, names[1:], strict=True)})
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Drawn Letters", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.save(path)
    return path


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The fonts of this machine: none, until a test puts some into the list."""
    files: list[Path] = []
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(file) for file in files])
    monkeypatch.setattr(fonts, "_said", set())
    fonts._choose.cache_clear()
    with matplotlib.rc_context():
        yield files
    fonts._choose.cache_clear()


def test_without_a_font_one_line_says_what_to_install(installed: list[Path], log: list[str]) -> None:
    for _ in range(3):
        quiet.will_draw(["square", NAME])
    fonts.families([NAME, "background"])  # other texts with these letters
    assert len(log) == 1
    assert NAME[0] in log[0]
    assert "apt install fonts-noto-cjk" in log[0]
    assert "~/.local/share/fonts" in log[0]


def test_an_installed_font_that_has_the_letters_is_taken(installed: list[Path], tmp_path: Path, log: list[str]) -> None:
    other = make_font(tmp_path / "Another-Regular.ttf", "\u00df")
    font = make_font(tmp_path / "Letters-Regular.ttf", NAME)
    damaged = tmp_path / "Damaged.ttf"
    damaged.write_bytes(font.read_bytes()[:100])
    installed += [other, damaged, font]
    assert fonts.font_file(["square", NAME]) == font
    assert fonts.families(["square", NAME]) == ["DejaVu Sans", "Drawn Letters"]
    assert fonts.font_file(["square"]) == fonts._default_file()
    assert not log


def test_letters_of_a_picture_differ(installed: list[Path], tmp_path: Path) -> None:
    """Of a letter that no font has there is the same empty box, whichever it is."""
    image, box = np.zeros((64, 96, 3), np.uint8), np.array([[8, 40, 60, 60]])

    def drawn(text: str) -> np.ndarray:
        return draw_boxes(image, box, [text], [0])

    assert np.array_equal(drawn(NAME[0]), drawn(NAME[1]))
    fonts._choose.cache_clear()
    installed.append(make_font(tmp_path / "Letters-Regular.ttf", NAME))
    assert not np.array_equal(drawn(NAME[0]), drawn(NAME[1]))
