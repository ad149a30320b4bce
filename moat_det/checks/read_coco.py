"""COCO JSON, entry by entry: what one of them has wrong does not hide the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from moat_det.checks.faults import Fault
from moat_det.checks.samples import Row, Sample
from moat_det.data.formats.coco import (
    CocoSource,
    check_box,
    check_file_name,
    check_id,
    check_name,
    check_size,
    find_image_root,
    read_coco,
)
from moat_det.data.formats.records import ClassIds
from moat_det.errors import UserError
from moat_det.messages import shown

_Report = Callable[..., None]


def collect_coco(
    source: CocoSource, split: str, names: Mapping[int, str], faults: list[Fault], roots: dict[str, str]
) -> list[Sample]:
    """Read the images and annotations of a JSON; faults are appended, and its image folder is put into `roots`."""
    file = source.file

    def report(kind: str, detail: object, image: str | None = None) -> None:
        faults.append(Fault(kind, split, file, str(detail), image))

    try:
        coco = read_coco(file)
        samples = _read_images(coco["images"], source, split, report)
    except UserError as error:
        report("unreadable_labels", str(error).removeprefix(f"{file}: "))
        return []
    roots[file] = os.path.commonpath([os.path.dirname(s.image) for s in samples.values()]) if samples else ""
    categories = _read_categories(coco["categories"], report)
    ids = ClassIds(names)
    seen: set[int | str] = set()
    for position, entry in enumerate(coco["annotations"]):
        where = f"annotations[{position}]"
        try:
            key, image, category = (check_id(entry, name, where) for name in ("id", "image_id", "category_id"))
        except UserError as error:
            report("malformed_label", error)
            continue
        where = f"annotation {shown(key)}"
        if key in seen:
            report("repeated_id", f"{where}: its id occurs twice")
        seen.add(key)
        if image not in samples:
            report("absent_image", f"{where}: no image has the id {shown(image)}")
            continue
        sample = samples[image]
        try:
            if category not in categories:
                report("absent_category", f"{where}: no category has the id {shown(category)}", sample.image)
                sample.lost += 1
                continue
            x, y, width, height = check_box(entry, where)
            crowd = entry.get("iscrowd", 0)
            if crowd not in (0, 1):
                raise UserError(f"{where}: 'iscrowd' is neither 0 nor 1")
        except UserError as error:
            sample.lost += 1
            report("malformed_label", error, sample.image)
            continue
        try:
            cls = ids.of(categories[category], where)
        except UserError as error:
            sample.lost += 1
            report("unknown_class", error, sample.image)
            continue
        sample.rows.append(Row(cls, (x, y, x + width, y + height), where, bool(crowd)))
    return _present(samples.values(), report)


def _read_images(entries: list[Any], source: CocoSource, split: str, report: _Report) -> dict[int | str, Sample]:
    """The images by id; raises `UserError` where their folder is not found."""
    found: dict[int | str, tuple[str, tuple[int, int] | None]] = {}
    owners: set[str] = set()
    for position, entry in enumerate(entries):
        where = f"images[{position}]"
        try:
            key, name = check_id(entry, "id", where), check_file_name(entry, where)
            size = entry.get("height"), entry.get("width")
            declared = None if None in size else check_size(size, where)
        except UserError as error:
            report("malformed_label", error)
            continue
        if key in found:
            report("repeated_id", f"{where}: the id {shown(key)} occurs twice")
        elif name in owners:
            report("annotated_twice", f"{where}: '{name}' is listed twice")
        else:
            found[key] = name, declared
        owners.add(name)
    if not found:
        raise UserError("no image in its list 'images'")
    root = source.image_root or find_image_root(source.file, [name for name, _ in found.values()])
    return {
        key: Sample(split, os.path.normpath(os.path.join(root, name)), source.file, declared=declared)
        for key, (name, declared) in found.items()
    }


def _read_categories(entries: list[Any], report: _Report) -> dict[int | str, str]:
    categories: dict[int | str, str] = {}
    for position, entry in enumerate(entries):
        where = f"categories[{position}]"
        try:
            key, name = check_id(entry, "id", where), check_name(entry, where)
        except UserError as error:
            report("malformed_label", error)
            continue
        if key in categories:
            report("repeated_id", f"{where}: the id {shown(key)} occurs twice")
        categories.setdefault(key, name)
    return categories


def _present(samples: Iterable[Sample], report: _Report) -> list[Sample]:
    """Those whose image is there."""
    present = []
    for sample in samples:
        if os.path.isfile(sample.image):
            present.append(sample)
        else:
            report("image_missing", f"{sample.image} is listed, but not there")
    return present
