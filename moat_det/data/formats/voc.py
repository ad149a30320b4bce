"""VOC XML: one file per image, with its objects.

Coordinates are taken as the edges of the box in pixels, counted from 0, which is what most labelling tools write. The
original PASCAL files count pixels from 1 and include the last one: read this way, their boxes lack the pixels of their
left column and upper row.
"""

from __future__ import annotations

import math
import os
import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NoReturn

from moat_det.data.formats.annotation import LARGEST_PIXEL, Annotation, Row
from moat_det.data.formats.faults import AnnotationError, OnFault, pass_over
from moat_det.data.formats.numbers import read_number
from moat_det.data.formats.records import ClassIds, Record, Source
from moat_det.data.formats.voc_files import XmlFolder, image_folders
from moat_det.data.images.find import walk
from moat_det.data.images.suffixes import IMAGE_SUFFIXES
from moat_det.errors import UserError
from moat_det.messages import is_plain, one_line, shown
from moat_det.progress import progress
from moat_det.text import SAVE_AS_UTF_8, NotTextError, read_xml_text

_SIDES = ("xmin", "ymin", "xmax", "ymax")


class VocSource:
    """XML files, one per image, and images that no XML file names.

    Such an image is a good part where it lies with images of the XML files; where another part of the dataset has
    images in the same folder it may be a good part of that one, and is left out. An object that is marked `difficult`
    is an object like any other.

    Args:
        folders: The folders of the XML files.
        names: Class id to name; None where classes do not matter.
        image_root: The folder with the images of the XML files; None for the places around each.
        siblings: The other parts of the dataset that may name some of the images.
    """

    format = "voc"

    def __init__(
        self,
        folders: Sequence[XmlFolder],
        names: Mapping[int, str] | None,
        image_root: str | None,
        siblings: Sequence[Source] = (),
    ) -> None:
        self._files = sorted({file for folder in folders for file in folder.files})
        self._images = sorted({image for folder in folders for image in folder.all_images})
        self._within = {image for folder in folders for image in folder.images}
        self._around = {place: set(images) for folder in folders for place, images in folder.around.items()}
        self._others = sorted({file for folder in folders for file in folder.others})
        self._ids = ClassIds(names)
        self._image_root = image_root
        self._siblings = siblings

    def listing(self) -> Sequence[str]:
        """Give the XML files, the images where theirs may lie, and what tells whose those are."""
        return [*self._files, *self._images, *(file for part in self._siblings for file in part.listing())]

    def unused(self) -> Sequence[str]:
        """Give what lies among the XML files and is neither one nor an image."""
        return self._others

    def unnamed(self, used: Collection[str]) -> list[str]:
        """Give the images that are left out, as no XML file names them and they may be another part's.

        Those that lie with images of another part alone are its own to tell of.

        Args:
            used: The images that `records` gives, and others.
        """
        left = (self._within | self._beside(used)) - set(used)
        if not left or not self._taken:
            return sorted(left)
        foreign = _folders_of(self._taken) - _folders_of(set(used) - self._taken)
        return sorted(image for image in left - self._taken if os.path.dirname(image) not in foreign)

    def records(self, on_fault: OnFault) -> list[Record]:
        """Give the images of the XML files, then the good parts that have none."""
        records = self._named(on_fault)
        read = {record.file for record in records.values()}
        unread = {_stem(file) for file in self._files if file not in read}
        good = (Record(image, Annotation(lost=int(_stem(image) in unread))) for image in self._good_parts(records))
        return [*records.values(), *good]

    def _named(self, on_fault: OnFault) -> dict[str, Record]:
        """Give the images of the XML files."""
        records: dict[str, Record] = {}
        for file in progress(self._files, "Reading XML"):
            try:
                root = parse_xml(file)
                image = find_image(file, root, self._image_root)
            except AnnotationError as error:
                on_fault(error.at(file, error.place))
                continue
            if image in records:
                problem = f"its image {image} belongs to {records[image].file} too; remove one"
                on_fault(AnnotationError(problem, "annotated_twice", file))
                continue
            annotation = _read_objects(file, root, image, self._ids, on_fault)
            records[image] = Record(image, annotation, file, (file,))
        return records

    def _beside(self, named: Collection[str]) -> set[str]:
        """Give the images of the folders around those of the XML files in which images of these lie."""
        return {image for images in self._around.values() if not images.isdisjoint(named) for image in images}

    def _good_parts(self, named: Collection[str]) -> list[str]:
        left = self._beside(named) | (set() if self._image_root else self._within)
        left -= set(named)
        if not left or not self._taken:
            return sorted(left)
        own = _folders_of(named) - _folders_of(self._taken)
        return sorted(image for image in left if os.path.dirname(image) in own)

    @cached_property
    def _taken(self) -> set[str]:
        """The images here that other parts of the dataset name."""
        found: set[str] = set()
        for part in self._siblings:
            found |= {record.image for record in _named_by(part)}
        return found.intersection(self._images)


def _folders_of(images: Iterable[str]) -> set[str]:
    return {os.path.dirname(image) for image in images}


def _named_by(part: Source) -> Iterable[Record]:
    return part._named(pass_over).values() if isinstance(part, VocSource) else part.records(pass_over)


def find_image(file: str, root: ET.Element, image_root: str | None) -> str:
    """Find the image of an XML file.

    Its name is that of `<filename>`, with any image suffix where it has none, else that of the XML file. Looked at are
    `image_root`, or without one the folder of the XML, `JPEGImages` and `images` beside that folder, and `<path>`.

    Returns:
        The absolute path; where no image is found, that of the first place.

    Raises:
        AnnotationError: `<filename>` or `<path>` is no text that can be a path.
    """
    folder, stem = os.path.dirname(file), _stem(file)
    folders = image_folders(folder, image_root)
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


def _stem(file: str) -> str:
    return os.path.splitext(os.path.basename(file))[0]


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
        value = read_number(text)
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
