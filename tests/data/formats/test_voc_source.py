from __future__ import annotations

from pathlib import Path

import pytest

from helpers.annotation_files import NAMES, voc, write_images, write_voc
from moat_det.data.index import open_index
from moat_det.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path / "JPEGImages")
    return write_voc(tmp_path / "Annotations")


TEXT = voc("a.png")
ENTITIES = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;"><!ENTITY f SYSTEM "file:///etc/passwd">]><annotation>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: broken XML"),
        (TEXT[:-30], "broken XML"),
        ("no XML", "line 1: broken XML"),
        (b"\xff\xfe\x00", "broken XML"),
        (TEXT.replace("UTF-8", "made-up"), "cannot be read as XML|broken XML"),
        (TEXT.replace("UTF-8", "utf-16"), "cannot be read as XML|broken XML"),
        (TEXT.replace("<annotation>", ENTITIES), "a document type .* is not accepted"),
        (TEXT.replace("<annotation>", ENTITIES).replace("pit", "&c;"), "a document type .* is not accepted"),
        (TEXT.replace("<annotation>", ENTITIES).encode("utf-16"), "a document type|broken XML"),
        (TEXT.replace("pit", "&c;"), "line 3: broken XML: undefined entity"),
        (TEXT.replace("annotation>", "project>"), "its root is <project>"),
        (TEXT.replace(">pit<", "><"), "object 1: no <name>"),
        (TEXT.replace(">pit<", ">pits<"), r"object 1: the class 'pits' .* \(did you mean 'pit'\?\)"),
        (TEXT.replace("<xmin>10</xmin>", ""), "object 1: <xmin> is ''"),
        (TEXT.replace("<xmin>10<", "<xmin>1o<"), "object 1: <xmin> is '1o'"),
        (TEXT.replace("<xmin>10<", "<xmin>1_0<"), "object 1: <xmin> is '1_0'"),
        (TEXT.replace("<xmin>10<", "<xmin>nan<"), "object 1: <xmin> is 'nan'"),
        (TEXT.replace("<xmin>10<", "<xmin>1e300<"), "object 1: <xmin> is '1e300'"),
        (TEXT.replace("<ymax>20<", "<ymax>4<"), "object 1: its <bndbox> has a negative side"),
        (TEXT.replace("<bndbox><xmin>40", "<polygon><xmin>40").replace("40</ymax></bndbox>", "40</ymax></polygon>"),
         "object 2: no <bndbox>"),
        (TEXT.replace("a.png", "a&#9;.png"), "<filename> is 'a\\\\t.png', which is no name"),
    ],
)  # fmt: skip
def test_a_broken_xml_is_named_with_the_place(folder: Path, text: str | bytes, message: str) -> None:
    (folder / "a.xml").write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UserError, match=message) as caught:
        open_index(folder, NAMES)
    assert str(caught.value).startswith(str(folder / "a.xml"))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("a.png", "a"),
        TEXT.replace("a.png", "a.bmp"),
        TEXT.replace("<filename>a.png</filename>", ""),
        TEXT.replace("<filename>a.png</filename>", "<filename/>"),
        TEXT.replace("<filename>a.png</filename>", "<filename>0001</filename><path>../JPEGImages/a.png</path>"),
        TEXT.replace("<filename>", "<path>C:\\labels\\a.png</path><filename>"),
        f"\ufeff{TEXT}".replace("\n", "\r\n"),
    ],
)
def test_an_image_is_found_under_the_names_that_tools_write(folder: Path, text: str) -> None:
    (folder / "a.xml").write_text(text)
    index = open_index(folder, NAMES)
    assert [Path(path).name for path in index.paths] == ["a.png", "b.png", "c.jpg"]
    assert index.boxes.tolist() == [[10, 5, 30, 20], [40, 10, 60, 40], [0, 0, 60, 40]]


def test_two_files_of_one_image_are_an_error(folder: Path) -> None:
    (folder / "d.xml").write_text(TEXT)
    with pytest.raises(UserError, match=r"d\.xml: its image .*a\.png belongs to .*a\.xml too"):
        open_index(folder, NAMES)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ("<size><width>0</width><height>0</height></size>", "0 x 0 instead of 60 x 40"),
        ("<size><width>40</width><height>60</height></size>", "40 x 60 instead of 60 x 40"),
        ("<size><width>wide</width></size>", "0 x 0 instead of 60 x 40"),
        ("<size/>", "0 x 0 instead of 60 x 40"),
        ("", None),
    ],
)
def test_a_wrong_size_is_counted_and_the_image_counts(folder: Path, size: str, said: str | None) -> None:
    (folder / "a.xml").write_text(voc("a.png", size))
    index = open_index(folder, NAMES)
    assert index.shapes[0].tolist() == [40, 60]
    assert [reason for _, reason in index.report.wrong_sizes] == ([said] if said else [])


def test_any_class_passes_where_classes_do_not_matter(folder: Path) -> None:
    (folder / "a.xml").write_text(TEXT.replace(">pit<", ">unheard of<"))
    assert set(open_index(folder, None).classes.tolist()) == {0}
