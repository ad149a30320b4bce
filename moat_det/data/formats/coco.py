"""COCO JSON: one file for the images, boxes and classes of a whole split."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moat_det.data.formats.annotation import LARGEST_PIXEL, Annotation, Row
from moat_det.data.formats.faults import AnnotationError, OnFault
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.data.formats.outline import box_outlines
from moat_det.data.formats.records import ClassIds, Record
from moat_det.messages import is_plain, one_line, shown
from moat_det.text import SAVE_AS_UTF_8, NotTextError, read_text

logger = logging.getLogger(__name__)

_LISTS = ("images", "annotations", "categories")
# So many file names, spread over the JSON, tell which folder they are relative to.
_SAMPLE = 20


class CocoSource:
    """A COCO detection JSON.

    Args:
        file: The JSON, absolute.
        names: Class id to name; categories are matched to them by name. None where classes do not matter.
        image_root: The folder that `file_name` is relative to; None to look for it around the JSON.
        siblings: The dataset's other JSONs.
    """

    format = "coco"

    def __init__(
        self,
        file: str,
        names: Mapping[int, str] | None,
        image_root: str | None,
        siblings: Sequence[CocoSource] = (),
    ) -> None:
        self.file = file
        self._ids = ClassIds(names)
        self.image_root = image_root
        self.siblings = siblings

    def listing(self) -> Sequence[str]:
        """Give the JSON alone."""
        return [self.file]

    def unused(self) -> Sequence[str]:
        """Nothing: the JSON names its files, so that no folder is read; see `moat_det.data.index.listed`."""
        return []

    def records(self, on_fault: OnFault) -> list[Record]:
        """Give the JSON's images; those without an annotation are images without boxes."""
        try:
            coco = read_coco(self.file)
            images = self._images(coco["images"], on_fault)
        except AnnotationError as error:
            on_fault(error.at(self.file, error.place))
            return []
        categories = self._categories(coco["categories"], on_fault)
        seen: set[int | str] = set()
        for position, entry in enumerate(coco["annotations"]):
            self._annotation(entry, f"annotations[{position}]", images, categories, seen, on_fault)
        annotations = [annotation for _, annotation in images.values()]
        boxes = np.array([row.values for annotation in annotations for row in annotation.rows]).reshape(-1, 4)
        if len(boxes) and max(boxes[:, :2].max(), (boxes[:, 2:] - boxes[:, :2]).max()) <= 1:
            problem = "every box lies within one pixel; COCO's 'bbox' is in pixels, not in shares"
            on_fault(AnnotationError(problem, file=self.file))
        return [Record(image, annotation, self.file) for image, annotation in images.values()]

    def _images(self, entries: list[Any], on_fault: OnFault) -> dict[int | str, tuple[str, Annotation]]:
        """Give path and, still empty, annotation by image id; raises `AnnotationError` where no image is found."""
        names: dict[int | str, str] = {}
        sizes: list[tuple[int, int] | None] = []
        owners: dict[str, int | str] = {}
        for position, entry in enumerate(entries):
            try:
                key, name = check_id(entry, "id"), _file_name(entry)
                size = entry.get("height"), entry.get("width")
                declared = None if None in size else _declared_size(size)
                if key in names:
                    raise _repeated(key, "image")
                if name in owners:
                    raise AnnotationError(
                        f"'{name}' is image {shown(owners[name])} too; list every file once", "annotated_twice"
                    )
            except AnnotationError as error:
                on_fault(error.at(self.file, f"images[{position}]"))
                continue
            names[key], owners[name] = name, key
            sizes.append(declared)
        if not names:
            raise AnnotationError("no image in its list 'images'; give the JSON of a split", "unreadable_labels")
        root = self.image_root or find_image_root(self.file, list(names.values()))
        return {
            key: (os.path.normpath(os.path.join(root, name)), Annotation(declared=size))
            for (key, name), size in zip(names.items(), sizes, strict=True)
        }

    def _categories(self, entries: list[Any], on_fault: OnFault) -> dict[int | str, str]:
        """Give name by id; those that no annotation uses need not be among the dataset's classes."""
        categories: dict[int | str, str] = {}
        for position, entry in enumerate(entries):
            try:
                key, name = check_id(entry, "id"), _category_name(entry)
                if key in categories:
                    raise _repeated(key, "category")
                categories[key] = name
            except AnnotationError as error:
                on_fault(error.at(self.file, f"categories[{position}]"))
        return categories

    def _annotation(
        self,
        entry: Any,
        place: str,
        images: Mapping[int | str, tuple[str, Annotation]],
        categories: Mapping[int | str, str],
        seen: set[int | str],
        on_fault: OnFault,
    ) -> None:
        """Put the box of an entry to its image."""
        path, annotation = None, Annotation()  # of which nothing comes where the entry is that of no image
        try:
            key = check_id(entry, "id")
            if key in seen:
                on_fault(_repeated(key, "annotation").at(self.file, place))
            seen.add(key)
            place = f"annotation {shown(key)}"
            image = check_id(entry, "image_id")
            if image not in images:
                raise AnnotationError(
                    f"no image has the id {shown(image)}; correct 'image_id' or remove the annotation", "absent_image"
                )
            path, annotation = images[image]
            category = check_id(entry, "category_id")
            if category not in categories:
                raise AnnotationError(
                    f"no category has the id {shown(category)}; correct 'category_id'", "absent_category"
                )
            crowd = entry.get("iscrowd", 0)
            if crowd not in (0, 1):
                raise AnnotationError(f"'iscrowd' is {shown(crowd)}; write 0 or 1")
            x, y, width, height = _box(entry)
            corners = (x, y, x + width, y + height)
            annotation.rows.append(Row(self._ids.of(categories[category]), corners, place, bool(crowd)))
        except AnnotationError as error:
            annotation.lost += 1
            on_fault(error.at(self.file, place, path))


def read_coco(file: str | Path, outlines: bool = False) -> dict[str, Any]:
    """Read a COCO JSON.

    Args:
        file: The JSON.
        outlines: Keep the key `segmentation` of the annotations, which takes most of the memory.

    Returns:
        `images`, `annotations` and `categories`, each a list; their entries are not looked at, but that what has an
        outline and no `bbox` has got the box around the outline.

    Raises:
        AnnotationError: It cannot be read, is no JSON or lacks a list.
    """

    def unreadable(problem: str, place: str = "") -> AnnotationError:
        return AnnotationError(problem, "unreadable_labels", str(file), place)

    try:
        coco = json.loads(read_text(file), object_hook=box_outlines if outlines else _without_outline)
    except OSError as error:
        raise unreadable(f"cannot be read ({error.strerror}); check its permissions") from error
    except json.JSONDecodeError as error:
        raise unreadable(f"broken JSON: {error.msg}; correct it or export it anew", f"line {error.lineno}") from error
    except NotTextError as error:
        raise unreadable(f"cannot be read as JSON ({error}); {SAVE_AS_UTF_8}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, nested too deep
        raise unreadable(f"cannot be read as JSON ({one_line(error)}); export it anew") from error
    for key in _LISTS:
        if not isinstance(coco, dict) or not isinstance(coco.get(key), list):
            raise unreadable(f"no COCO detection JSON: it has no list '{key}'; give one with {', '.join(_LISTS)}")
    return coco


def coco_names(file: str | Path, others: Sequence[str | Path] = ()) -> list[str]:
    """Give the names of a COCO JSON's categories, in the order of their ids.

    Categories that only group others are no classes: those without an annotation that another category names as its
    `supercategory`, and one of id 0 that names none itself, as Roboflow writes them.

    Args:
        file: The JSON.
        others: The dataset's other JSONs, in which such a category may have annotations.

    Raises:
        AnnotationError: As `read_coco`; or there is no category, or one without id or name, or two of one id or name.
    """
    names: dict[int | str, str] = {}
    coco = read_coco(file)
    for position, entry in enumerate(coco["categories"]):
        try:
            key, name = check_id(entry, "id"), _category_name(entry)
            if key in names or name in names.values():
                raise AnnotationError(
                    f"the id {shown(key)} or the name '{name}' occurs twice; every class needs its own"
                )
        except AnnotationError as error:
            raise error.at(str(file), f"categories[{position}]") from None
        names[key] = name
    if not names:
        raise AnnotationError("no category in it; add 'names' to the dataset YAML", file=str(file))
    for key in _groups(names, coco, others):
        logger.info(
            f"{file}: the category {shown(key)}, '{names.pop(key)}', has no annotation and groups the others: it is no "
            "class; give 'names' in the dataset YAML to keep it"
        )
    return [names[key] for key in sorted(names, key=lambda key: (isinstance(key, str), key))]


def _groups(names: Mapping[int | str, str], coco: dict[str, Any], others: Sequence[str | Path]) -> list[int | str]:
    """Give the ids of the categories that only group others; none where nothing else would be left."""
    parents = {entry["id"]: entry.get("supercategory") for entry in coco["categories"]}
    groups = {
        key: name
        for key, name in names.items()
        if (key == 0 and parents[key] in (None, "", "none"))
        or any(parent == name for other, parent in parents.items() if other != key)
    }
    if not groups or len(groups) == len(names):
        return []
    for content in (coco, *map(read_coco, others)):
        # What has no id that can be one is named where the annotations are read.
        used = {entry["category_id"] for entry in content["annotations"] if _has_id(entry, "category_id")}
        listed = [entry for entry in content["categories"] if _has_id(entry, "id")]
        have_boxes = [entry.get("name") for entry in listed if entry["id"] in used]
        groups = {key: name for key, name in groups.items() if name not in have_boxes}
    return list(groups)


def find_image_root(file: str, names: Sequence[str]) -> str:
    """Find the folder that the file names of a COCO JSON are relative to.

    Looked at are the JSON's folder, the one above, and `images`, the split (`val` of `instances_val.json`) and
    `images/<split>` in both; the folder that has most of a sample of the names wins, the first of equals.

    Raises:
        AnnotationError: None of them has one.
    """
    sample = names[:: math.ceil(len(names) / _SAMPLE)]
    folder, stem = os.path.split(os.path.splitext(file)[0])
    split = stem.rpartition("_")[2]
    above = os.path.dirname(folder)
    places = [os.path.join(base, *sub) for base in (folder, above) for sub in ((), ("images",))]
    places += [os.path.join(base, *sub) for base in (folder, above) for sub in ((split,), ("images", split))]
    found = {place: sum(os.path.isfile(os.path.join(place, name)) for name in sample) for place in places}
    best = max(places, key=found.__getitem__)
    if not found[best]:
        looked = ", ".join(place for place in places if os.path.isdir(place))
        raise AnnotationError(
            f"its images, such as '{sample[0]}', are in none of {looked}; give their folder as 'images' in the "
            "dataset YAML",
            "unreadable_labels",
            file,
        )
    return best


def coco_dictionary(
    images: Sequence[LabelledImage],
    file_names: Sequence[str],
    names: Mapping[int, str],
    decimals: int = 6,
    info: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Give images and boxes in the COCO detection format.

    Args:
        images: The images; their ids count from 1 in this order, and so do those of the annotations.
        file_names: What the JSON calls each image.
        names: Class id to name; a category's id is one more, since COCO's count from 1.
        decimals: Of the boxes, in pixels; the default keeps what labels say, to less than any of them means.
        info: What the JSON says of itself.

    Returns:
        `info`, `images`, `annotations` and `categories`; `iscrowd` is 1 for ignored regions, `area` is w * h.
    """
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(images, 1):
        corners = image.boxes.reshape(-1, 4)
        boxes = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]]).round(decimals)
        for cls, box, crowd in zip(image.classes.tolist(), boxes.tolist(), image.ignored.tolist(), strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": cls + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": int(crowd),
                }
            )
    return {
        "info": dict(info or {}),
        "images": [
            {"id": image_id, "file_name": name, "width": int(image.width), "height": int(image.height)}
            for image_id, (image, name) in enumerate(zip(images, file_names, strict=True), 1)
        ],
        "annotations": annotations,
        "categories": [{"id": cls + 1, "name": str(name)} for cls, name in sorted(names.items())],
    }


def check_id(entry: Any, key: str) -> int | str:
    """Give an id of an entry; raises `AnnotationError` where it is missing, or neither a whole number nor a text."""
    value = check_key(entry, key)
    if not _has_id(entry, key):
        raise AnnotationError(f"'{key}' is {shown(value)}; write a whole number")
    return value


def _has_id(entry: Any, key: str) -> bool:
    """Whether an entry has a whole number or a text as `key`."""
    value = entry.get(key) if isinstance(entry, dict) else None
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def check_key(entry: Any, key: str) -> Any:
    """Give what an entry has for a key; raises `AnnotationError` where it has nothing, or is no object."""
    if not isinstance(entry, dict):
        raise AnnotationError(f"{shown(entry)} where an object in {{}} belongs; export the JSON anew")
    if key not in entry:
        raise AnnotationError(f"no '{key}' in it, which the COCO format requires")
    return entry[key]


def _repeated(key: int | str, what: str) -> AnnotationError:
    return AnnotationError(f"the id {shown(key)} occurs twice; every {what} needs its own", "repeated_id")


def _without_outline(entry: dict[str, Any]) -> dict[str, Any]:
    box_outlines(entry).pop("segmentation", None)
    return entry


def _file_name(entry: Any) -> str:
    """Give an image's path as its entry has it."""
    name = check_key(entry, "file_name")
    if not _is_path(name):
        raise AnnotationError(f"'file_name' is {shown(name)}; write the path of an image")
    return name if os.path.isfile(name) else name.replace("\\", "/")


def _is_path(value: Any) -> bool:
    """Whether it can be a path; what of a file's name is no UTF-8 is in it as Python gives it (PEP 383)."""
    try:
        return isinstance(value, str) and is_plain(os.fsencode(value).decode(errors="replace"))
    except UnicodeEncodeError:
        return False


def _category_name(entry: Any) -> str:
    name = check_key(entry, "name")
    if not is_plain(name):
        raise AnnotationError(f"'name' is {shown(name)}; write the name of a class")
    return name.strip()


def _declared_size(size: tuple[Any, Any]) -> tuple[int, int]:
    """Height and width that an entry declares, in pixels."""
    if not all(_is_number(side) and side > 0 for side in size):
        raise AnnotationError(f"'height' and 'width' are {shown(size)}; write pixels, or leave them out")
    return int(size[0]), int(size[1])


def _box(entry: Any) -> list[float]:
    """Give an annotation's x, y, width, height in pixels."""
    if isinstance(entry, dict) and entry.get("bbox") in (None, []):
        raise AnnotationError(
            "no 'bbox' in it, and no outline in 'segmentation' that a box could be drawn around; add one of them"
        )
    box = check_key(entry, "bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise AnnotationError(f"'bbox' is {shown(box)}; write [x, y, width, height] in pixels")
    if box[2] < 0 or box[3] < 0:
        raise AnnotationError(f"'bbox' {shown(box)} has a negative side; write [x, y, width, height] in pixels")
    return [float(value) for value in box]


def _is_number(value: Any) -> bool:
    """Whether it is a number that a pixel coordinate may have."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST_PIXEL
