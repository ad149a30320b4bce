"""VOC XML: one file per image, with its objects.

Coordinates are taken as the edges of the box in pixels, counted from 0, which is what most labelling tools write. The
original PASCAL files count pixels from 1 and include the last one: read this way, their boxes lack the pixels of their
left column and upper row.
"""

from __future__ import annotations

import math
import os
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from moat_det.data.formats.annotation import LARGEST_PIXEL, Annotation, Row
from moat_det.data.formats.faults import AnnotationError, OnFault
from moat_det.data.formats.records import ClassIds, Record
from moat_det.data.images.find import walk
from moat_det.data.images.suffixes import IMAGE_SUFFIXES
from moat_det.data.text import SAVE_AS_UTF_8, NotTextError, read_xml_text
from moat_det.errors import UserError
from moat_det.messages import is_plain, one_line, shown
from moat_det.progress import progress

_SIDES = ("xmin", "ymin", "xmax", "ymax")


class VocSource:
    """XML files, one per image.

    An object that is marked `difficult` is an object like any other.

    Args:
        files: The XML files, absolute.
        images: The images that lie in the same folders, absolute; those without an XML file have no boxes.
        names: Class id to name; None where classes do not matter.
        image_root: The folder with the images of the XML files; None for the places around each.
        others: Files that lie among them, absolute.
    """

    format = "voc"

    def __init__(
        self,
        files: Sequence[str],
        images: Sequence[str],
        names: Mapping[int, str] | None,
        image_root: str | None,
        others: Sequence[str] = (),
    ) -> None:
        self.files = files
        self.images = images
        self._ids = ClassIds(names)
        self.image_root = image_root
        self._others = others

    def listing(self) -> Sequence[str]:
        """Give the XML files, and the images beside them."""
        return [*self.files, *self.images]

    def unused(self) -> Sequence[str]:
        """Give what lies among them and is neither an XML file nor an image."""
        return self._others

    def records(self, on_fault: OnFault) -> list[Record]:
        """Give the images of the XML files, then those beside them that have none."""
        records: dict[str, Record] = {}
        unread = set()
        for file in progress(self.files, "Reading XML"):
            try:
                root = parse_xml(file)
                image = find_image(file, root, self.image_root)
            except AnnotationError as error:
                unread.add(os.path.splitext(os.path.basename(file))[0])
                on_fault(error.at(file, error.place))
                continue
            if image in records:
                problem = f"its image {image} belongs to {records[image].file} too; remove one"
                on_fault(AnnotationError(problem, "annotated_twice", file))
                continue
            annotation = _read_objects(file, root, image, self._ids, on_fault)
            records[image] = Record(image, annotation, file, (file,))
        for image in self.images:
            lost = int(os.path.splitext(os.path.basename(image))[0] in unread)
            records.setdefault(image, Record(image, Annotation(lost=lost)))
        return list(records.values())


def find_image(file: str, root: ET.Element, image_root: str | None) -> str:
    """Find the image of an XML file.

    Its name is that of `<filename>`, with any image suffix where it has none, else that of the XML file. Looked at are
    `image_root`, or without one the folder of the XML, `JPEGImages` and `images` beside that folder, and `<path>`.

    Returns:
        The absolute path; where no image is found, that of the first place.

    Raises:
        AnnotationError: `<filename>` or `<path>` is no text that can be a path.
    """
    folder, stem = os.path.split(os.path.splitext(file)[0])
    above = os.path.dirname(folder)
    folders = [image_root] if image_root else [folder, os.path.join(above, "JPEGImages"), os.path.join(above, "images")]
    name = _path_text(root, "filename") or stem
    places = [os.path.join(place, name) for place in folders]
    if not image_root and (path := _path_text(root, "path")):
        places.append(os.path.join(folder, path))
    found = next((place for place in places if os.path.isfile(place)), None)
    if not found:
        stems = [os.path.join(place, part) for part in dict.fromkeys((name, stem)) for place in folders]
        suffixes = sorted(IMAGE_SUFFIXES) + sorted(suffix.upper() for suffix in IMAGE_SUFFIXES)
        guesses = (f"{base}.{suffix}" for base in stems for suffix in suffixes)
        found = next((guess for guess in guesses if os.path.isfile(guess)), places[0])
    return os.path.normpath(found)


class _DoctypeError(Exception):
    """A document type, which may define entities that grow without bound or that name other files."""


class _TreeBuilder(ET.TreeBuilder):
    """Builds the tree of a document that defines no entities."""

    def doctype(self, *_: Any) -> NoReturn:
        raise _DoctypeError


def parse_xml(file: str) -> ET.Element:
    """Read an XML file; raises `AnnotationError` where it cannot be read or is no VOC annotation."""

    def unreadable(problem: str, place: str = "") -> AnnotationError:
        return AnnotationError(problem, "unreadable_labels", file, place)

    try:
        parser = ET.XMLParser(target=_TreeBuilder(), encoding="utf-8")  # whatever it was in
        parser.feed(read_xml_text(file).encode())
        root: ET.Element = parser.close()
    except OSError as error:
        raise unreadable(f"cannot be read ({error.strerror}); check its permissions") from error
    except _DoctypeError as error:
        raise unreadable("a document type (<!DOCTYPE>) is not accepted; remove it from the file") from error
    except ET.ParseError as error:
        line, reason = error.position[0], str(error).partition(":")[0]
        raise unreadable(f"broken XML: {reason}; correct it or export it anew", f"line {line}") from error
    except NotTextError as error:
        raise unreadable(f"broken XML: {error}; {SAVE_AS_UTF_8}, or declare its encoding") from error
    if root.tag != "annotation":
        raise unreadable(f"no VOC annotation: its root is <{one_line(root.tag)}>; give a folder of VOC XML only")
    return root


def _text(parent: ET.Element, tag: str) -> str | None:
    """Give the text of a child; None where it is missing or empty."""
    text = (parent.findtext(tag) or "").strip()
    if text and not is_plain(text):
        raise AnnotationError(f"<{tag}> is {shown(text)}, which is no name; correct it")
    return text or None


def _path_text(root: ET.Element, tag: str) -> str | None:
    """Give the text of a child that is a path, of Windows too."""
    text = _text(root, tag)
    return text and text.replace("\\", "/")


def _read_objects(file: str, root: ET.Element, image: str, ids: ClassIds, on_fault: OnFault) -> Annotation:
    annotation = Annotation(declared=_declared_size(root))
    for number, item in enumerate(root.findall("object"), 1):
        place = f"object {number}"
        try:
            name, box = _text(item, "name"), _box(item)
            if name is None:
                raise AnnotationError("no <name> in it; write the name of its class")
            annotation.rows.append(Row(ids.of(name), box, place))
        except AnnotationError as error:
            annotation.lost += 1
            on_fault(error.at(file, place, image))
    return annotation


def _box(item: ET.Element) -> list[float]:
    """Give the x1, y1, x2, y2 of an object in pixels."""
    box = item.find("bndbox")
    if box is None:
        raise AnnotationError("no <bndbox> in it; write one, or remove the object")
    values = []
    for side in _SIDES:
        text = (box.findtext(side) or "").strip()
        value = _number(text)
        if value is None:
            raise AnnotationError(f"<{side}> is {shown(text)}; write a number of pixels")
        values.append(value)
    if values[2] < values[0] or values[3] < values[1]:
        raise AnnotationError(f"its <bndbox> has a negative side, from {values[:2]} to {values[2:]}; correct it")
    return values


def _number(text: str) -> float | None:
    """Give the number that a text is, if a pixel coordinate may have it."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) <= LARGEST_PIXEL else None


def _declared_size(root: ET.Element) -> tuple[int, int] | None:
    """Height and width as `<size>` has them, (0, 0) for what is no number; None without `<size>`."""
    if root.find("size") is None:
        return None
    sides = [_number((root.findtext(f"size/{side}") or "").strip()) or 0 for side in ("height", "width")]
    return int(sides[0]), int(sides[1])


def voc_names(folder: str) -> list[str]:
    """Give the names of the objects in a folder of VOC XML, sorted.

    Raises:
        AnnotationError: A file is no VOC annotation.
        UserError: No object has a name.
    """
    names: set[str] = set()
    for file in sorted(path for path in walk(folder) if path.lower().endswith(".xml")):
        for number, item in enumerate(parse_xml(file).findall("object"), 1):
            try:
                name = _text(item, "name")
            except AnnotationError as error:
                raise error.at(file, f"object {number}") from None
            if name is not None:
                names.add(name)
    if not names:
        raise UserError(f"{folder}: no object in its XML files; give the names of the classes")
    return sorted(names)
