"""What stops a training is in the report of the check, in the same words: both read with the same reader."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.annotation_files import NAMES, coco, voc, write_coco, write_images, write_voc, write_yolo
from moat_det.checks.faults import Severity
from moat_det.checks.run import check_dataset
from moat_det.data.index import open_index
from moat_det.errors import UserError


def in_labels(row: str | bytes) -> Callable[[Path], str]:
    def write(root: Path) -> str:
        write_yolo(root / "labels")
        (root / "labels/a.txt").write_bytes(row if isinstance(row, bytes) else row.encode())
        return "images"

    return write


def in_json(part: str, **values: Any) -> Callable[[Path], str]:
    def write(root: Path) -> str:
        content = coco()
        content[part][1].update(values)
        write_coco(root / "set.json", **content)
        return "set.json"

    return write


def in_whole_json(text: str) -> Callable[[Path], str]:
    def write(root: Path) -> str:
        (root / "set.json").write_text(text)
        return "set.json"

    return write


def in_xml(old: str, new: str) -> Callable[[Path], str]:
    def write(root: Path) -> str:
        folder = write_voc(root / "xml")
        (folder / "a.xml").write_text(voc("a.png").replace(old, new))
        return "xml"

    return write


def shares_in_json(root: Path) -> str:
    content = coco()
    for note in content["annotations"]:
        note["bbox"] = [0.1, 0.1, 0.5, 0.5]
    write_coco(root / "set.json", **content)
    return "set.json"


def two_files_of_one_image(root: Path) -> str:
    (write_voc(root / "xml") / "d.xml").write_text(voc("a.png"))
    return "xml"


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (in_labels("0 0.5 0.5 0.1"), "malformed_label"),
        (in_labels("0 0.5 0.5 0.1 nan"), "malformed_label"),
        (in_labels("0 100 50 20 10"), "malformed_label"),
        (in_labels("7 0.5 0.5 0.1 0.1"), "unknown_class"),
        (in_labels(b"\xff\xfe0\x00"), "unreadable_labels"),
        (in_json("images", id=41), "repeated_id"),
        (in_json("images", file_name="c.jpg"), "annotated_twice"),
        (in_json("images", width=0), "malformed_label"),
        (in_json("annotations", id=50), "repeated_id"),
        (in_json("annotations", image_id=7), "absent_image"),
        (in_json("annotations", category_id=7), "absent_category"),
        (in_json("annotations", bbox=[1, 2, -3, 4]), "malformed_label"),
        (in_json("annotations", iscrowd=2), "malformed_label"),
        (in_json("categories", name=None), "malformed_label"),
        (in_json("categories", name="pits"), "unknown_class"),
        (in_whole_json("{"), "unreadable_labels"),
        (in_whole_json(json.dumps(coco(images=[]))), "unreadable_labels"),
        (in_whole_json(json.dumps(coco()).replace(".png", ".gone").replace(".jpg", ".gone")), "unreadable_labels"),
        (shares_in_json, "malformed_label"),
        (in_xml("</annotation>", ""), "unreadable_labels"),
        (in_xml("<annotation>", "<!DOCTYPE a><annotation>"), "unreadable_labels"),
        (in_xml(">pit<", "><"), "malformed_label"),
        (in_xml(">pit<", ">pits<"), "unknown_class"),
        (in_xml("<xmin>10<", "<xmin>1o<"), "malformed_label"),
        (in_xml("a.png", "a&#9;.png"), "malformed_label"),
        (two_files_of_one_image, "annotated_twice"),
    ],
)
def test_what_training_refuses_is_reported(tmp_path: Path, write: Callable[[Path], str], kind: str) -> None:
    images = write_images(tmp_path / "images")
    place = tmp_path / write(tmp_path)
    roots = {} if "gone" in str(place.is_file() and place.read_bytes()) else {str(place): str(images)}
    with pytest.raises(UserError) as refused:
        open_index(place, NAMES, roots)
    names = list(NAMES.values())
    keys = {"train": place.name, "val": place.name, "names": names} | ({"images": "images"} if roots else {})
    (tmp_path / "data.yaml").write_text(json.dumps(keys))
    faults = [fault for fault in check_dataset(tmp_path / "data.yaml").faults if fault.split == "train"]
    (found,) = [fault for fault in faults if fault.severity is Severity.ERROR and fault.kind == kind]
    assert str(refused.value).startswith(found.file)
    assert str(refused.value).endswith(found.detail)
