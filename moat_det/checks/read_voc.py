"""VOC XML, object by object: what one of them has wrong does not hide the others."""

from __future__ import annotations

import os
from collections.abc import Mapping

from moat_det.checks.faults import Fault
from moat_det.checks.samples import Row, Sample
from moat_det.data.formats.records import ClassIds
from moat_det.data.formats.voc import VocSource, child_text, declared_size, find_image, parse_xml, read_box
from moat_det.errors import UserError


def collect_voc(source: VocSource, split: str, names: Mapping[int, str], faults: list[Fault]) -> list[Sample]:
    """Read the XML files and the images beside them; faults are appended."""
    samples: dict[str, Sample] = {}
    ids = ClassIds(names)
    broken = set()
    for file in source.files:
        try:
            root = parse_xml(file)
            image = find_image(file, root, source.image_root)
        except UserError as error:
            faults.append(Fault("unreadable_labels", split, file, _without(file, error)))
            broken.add(os.path.splitext(os.path.basename(file))[0])
            continue
        if not os.path.isfile(image):
            faults.append(Fault("label_without_image", split, file, f"its image, {image}, is not there"))
            continue
        if image in samples:
            faults.append(Fault("annotated_twice", split, file, f"{image} belongs to {samples[image].labels} too"))
            continue
        sample = samples[image] = Sample(split, image, file, declared=declared_size(root))
        for number, item in enumerate(root.findall("object"), 1):
            where = f"object {number}"
            try:
                box = read_box(item, where)
                name = child_text(item, "name", where)
                if name is None:
                    raise UserError(f"{where}: no <name> in it")
            except UserError as error:
                sample.lost += 1
                faults.append(Fault("malformed_label", split, file, str(error), image))
                continue
            try:
                sample.rows.append(Row(ids.of(name, where), tuple(box), where))
            except UserError as error:
                sample.lost += 1
                faults.append(Fault("unknown_class", split, file, str(error), image))
    for image in source.images:
        if image not in samples:
            lost = os.path.splitext(os.path.basename(image))[0] in broken
            samples[image] = Sample(split, image, None, lost=int(lost))
            if not lost:
                faults.append(Fault("image_without_label", split, image, "no XML file names it", image))
    return list(samples.values())


def _without(file: str, error: UserError) -> str:
    return str(error).removeprefix(file).lstrip(":, ")
