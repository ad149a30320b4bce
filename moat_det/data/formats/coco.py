"""COCO JSON: one file for the images, boxes and classes of a whole split."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from moat_det.data.formats.boxes import Labels, clean_boxes
from moat_det.data.formats.records import ClassIds, Record
from moat_det.data.images.header import ImageHeader
from moat_det.errors import UserError
from moat_det.messages import is_plain, shown

_LISTS = ("images", "annotations", "categories")
# Beyond this no image reaches; such a number is a mistake, not a box past the edge.
_LARGEST_PIXEL = 2.0**31
# So many file names, spread over the JSON, tell which folder they are relative to.
_SAMPLE = 20


class CocoSource:
    """A COCO detection JSON.

    Args:
        file: The JSON, absolute.
        names: Class id to name; categories are matched to them by name. None where classes do not matter.
        image_root: The folder that `file_name` is relative to; None to look for it around the JSON.
    """

    format = "coco"

    def __init__(self, file: str, names: Mapping[int, str] | None, image_root: str | None) -> None:
        self.file = file
        self._names = names
        self.image_root = image_root

    def listing(self) -> Sequence[str]:
        """The JSON alone."""
        return [self.file]

    def records(self) -> list[Record]:
        """The JSON's images; those without an annotation are images without boxes."""
        coco = read_coco(self.file)
        images = self._images(coco["images"])
        classes = self._categories(coco["categories"])
        rows: dict[int | str, list[tuple[int, list[float], bool]]] = {key: [] for key in images}
        seen: set[int | str] = set()
        for position, entry in enumerate(coco["annotations"]):
            where = f"{self.file}: annotations[{position}]"
            key = check_id(entry, "id", where)
            if key in seen:
                raise UserError(f"{where}: the id {shown(key)} occurs twice; every annotation needs its own")
            seen.add(key)
            where = f"{self.file}: annotation {shown(key)}"
            image, category = check_id(entry, "image_id", where), check_id(entry, "category_id", where)
            if image not in rows:
                raise UserError(
                    f"{where}: no image has the id {shown(image)}; correct 'image_id' or remove the annotation"
                )
            if category not in classes:
                raise UserError(f"{where}: no category has the id {shown(category)}; correct 'category_id'")
            crowd = entry.get("iscrowd", 0)
            if crowd not in (0, 1):
                raise UserError(f"{where}: 'iscrowd' is {shown(crowd)}; write 0 or 1")
            rows[image].append((classes[category].of(where), check_box(entry, where), bool(crowd)))
        self._check_unit(rows.values())
        names = [name for name, _ in images.values()]
        root = self.image_root or find_image_root(self.file, names)
        return [
            Record(os.path.normpath(os.path.join(root, name)), partial(_read, rows[key], declared))
            for key, (name, declared) in images.items()
        ]

    def _images(self, entries: list[Any]) -> dict[int | str, tuple[str, tuple[int, int] | None]]:
        """Give file name and declared (height, width) by image id."""
        images: dict[int | str, tuple[str, tuple[int, int] | None]] = {}
        owners: dict[str, int | str] = {}
        for position, entry in enumerate(entries):
            where = f"{self.file}: images[{position}]"
            key = check_id(entry, "id", where)
            if key in images:
                raise UserError(f"{where}: the id {shown(key)} occurs twice; every image needs its own")
            name = check_file_name(entry, where)
            if name in owners:
                raise UserError(f"{where}: '{name}' is image {shown(owners[name])} too; list every file once")
            owners[name] = key
            size = entry.get("height"), entry.get("width")
            images[key] = name, None if None in size else check_size(size, where)
        if not images:
            raise UserError(f"{self.file}: no image in its list 'images'; give the JSON of a split")
        return images

    def _categories(self, entries: list[Any]) -> dict[int | str, _Category]:
        ids = ClassIds(self._names)
        categories: dict[int | str, _Category] = {}
        for position, entry in enumerate(entries):
            where = f"{self.file}: categories[{position}]"
            key = check_id(entry, "id", where)
            if key in categories:
                raise UserError(f"{where}: the id {shown(key)} occurs twice; every category needs its own")
            categories[key] = _Category(check_name(entry, where), ids)
        return categories

    def _check_unit(self, rows: Iterable[list[tuple[int, list[float], bool]]]) -> None:
        boxes = np.array([box for image in rows for _, box, _ in image]).reshape(-1, 4)
        if len(boxes) and boxes.max() <= 1:
            raise UserError(f"{self.file}: every box lies within one pixel; COCO's 'bbox' is in pixels, not in shares")


class _Category:
    """A category that is looked up among the dataset's classes when an annotation uses it."""

    def __init__(self, name: str, ids: ClassIds) -> None:
        self._name, self._ids = name, ids

    def of(self, where: str) -> int:
        return self._ids.of(self._name, where)


def read_coco(file: str | Path) -> dict[str, Any]:
    """Read a COCO JSON, without its outlines, which take most of the memory.

    Returns:
        `images`, `annotations` and `categories`, each a list; their entries are not looked at.

    Raises:
        UserError: It cannot be read, is no JSON or lacks a list.
    """
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
        coco = json.loads(text, object_hook=_without_outline)
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); check its permissions") from error
    except json.JSONDecodeError as error:
        raise UserError(
            f"{file}, line {error.lineno}: broken JSON: {error.msg}; correct it or export it anew"
        ) from error
    except (ValueError, RecursionError) as error:  # not UTF-8, a number of thousands of digits, nested too deep
        reason = str(error).splitlines()[0][:100]
        raise UserError(f"{file}: cannot be read as JSON ({reason}); export it anew") from error
    for key in _LISTS:
        if not isinstance(coco, dict) or not isinstance(coco.get(key), list):
            raise UserError(
                f"{file}: no COCO detection JSON: it has no list '{key}'; give one with {', '.join(_LISTS)}"
            )
    return coco


def coco_names(file: str | Path) -> list[str]:
    """The names of a COCO JSON's categories, in the order of their ids; raises `UserError` as `read_coco` does."""
    names: dict[int | str, str] = {}
    for position, entry in enumerate(read_coco(file)["categories"]):
        where = f"{file}: categories[{position}]"
        key, name = check_id(entry, "id", where), check_name(entry, where)
        if key in names or name in names.values():
            raise UserError(
                f"{where}: the id {shown(key)} or the name '{name}' occurs twice; every class needs its own"
            )
        names[key] = name
    if not names:
        raise UserError(f"{file}: no category in it; add 'names' to the dataset YAML")
    return [names[key] for key in sorted(names, key=lambda key: (isinstance(key, str), key))]


def find_image_root(file: str, names: Sequence[str]) -> str:
    """Find the folder that the file names of a COCO JSON are relative to.

    Looked at are the JSON's folder, the one above, and `images`, the split (`val` of `instances_val.json`) and
    `images/<split>` in both; the folder that has most of a sample of the names wins, the first of equals.

    Raises:
        UserError: None of them has one.
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
        raise UserError(
            f"{file}: its images, such as '{sample[0]}', are in none of {looked}; give their folder as 'images' "
            "in the dataset YAML"
        )
    return best


def _without_outline(entry: dict[str, Any]) -> dict[str, Any]:
    entry.pop("segmentation", None)
    return entry


def _read(rows: list[tuple[int, list[float], bool]], declared: tuple[int, int] | None, header: ImageHeader) -> Labels:
    boxes = np.array([box for _, box, _ in rows], dtype=np.float64).reshape(-1, 4)
    labels = clean_boxes(
        np.array([cls for cls, _, _ in rows], dtype=np.int64),
        np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]),
        (header.height, header.width),
        ignored=np.array([crowd for _, _, crowd in rows], dtype=bool),
    )
    labels.declared = declared
    return labels


def check_id(entry: Any, key: str, where: str) -> int | str:
    """An id of an entry; raises `UserError` where it is missing, or neither a whole number nor a text."""
    value = _get(entry, key, where)
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise UserError(f"{where}: '{key}' is {shown(value)}; write a whole number")
    return value


def _get(entry: Any, key: str, where: str) -> Any:
    if not isinstance(entry, dict):
        raise UserError(f"{where}: {shown(entry)} where an object in {{}} belongs; export the JSON anew")
    if key not in entry:
        raise UserError(f"{where}: no '{key}' in it, which the COCO format requires")
    return entry[key]


def check_file_name(entry: Any, where: str) -> str:
    """An image's path as its entry has it; raises `UserError` where there is none."""
    name = _get(entry, "file_name", where)
    if not is_plain(name):
        raise UserError(f"{where}: 'file_name' is {shown(name)}; write the path of an image")
    return name if os.path.isfile(name) else name.replace("\\", "/")


def check_name(entry: Any, where: str) -> str:
    """A category's name; raises `UserError` where there is none."""
    name = _get(entry, "name", where)
    if not is_plain(name):
        raise UserError(f"{where}: 'name' is {shown(name)}; write the name of a class")
    return name.strip()


def check_size(size: tuple[Any, Any], where: str) -> tuple[int, int]:
    """Height and width that an entry declares, in pixels; raises `UserError` where they are none."""
    if not all(_is_number(side) and side > 0 for side in size):
        raise UserError(f"{where}: 'height' and 'width' are {shown(size)}; write pixels, or leave them out")
    return int(size[0]), int(size[1])


def check_box(entry: Any, where: str) -> list[float]:
    """An annotation's x, y, width, height in pixels; raises `UserError` where it has no proper box."""
    box = _get(entry, "bbox", where)
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise UserError(f"{where}: 'bbox' is {shown(box)}; write [x, y, width, height] in pixels")
    if box[2] < 0 or box[3] < 0:
        raise UserError(f"{where}: 'bbox' {shown(box)} has a negative side; write [x, y, width, height] in pixels")
    return [float(value) for value in box]


def _is_number(value: Any) -> bool:
    """Whether it is a number that a pixel coordinate may have."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST_PIXEL
