from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from helpers.annotation_files import NAMES, coco, write_coco, write_images
from moat_det.data.index import open_index
from moat_det.errors import UserError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_images(tmp_path / "images")
    return write_coco(tmp_path / "set.json")


def changed(part: str, position: int, **values: Any) -> dict[str, Any]:
    content = coco()
    content[part][position].update(values)
    return content


def without(part: str, position: int, key: str) -> dict[str, Any]:
    content = coco()
    del content[part][position][key]
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: broken JSON"),
        (json.dumps(coco())[:-40], "line 1: broken JSON"),
        ('{\n"images": [,]}', "line 2: broken JSON"),
        (b"\xff\xfe\x00", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        (f'{{"images": {"9" * 5000}}}', "cannot be read as JSON"),
        ([], "it has no list 'images'"),
        ({}, "it has no list 'images'"),
        (coco(images={}), "it has no list 'images'"),
        (coco(annotations=None), "it has no list 'annotations'"),
        (coco(images=[]), "no image in its list"),
        (coco(images=["a.png"]), r"images\[0\]: 'a.png' where an object"),
        (without("images", 1, "id"), r"images\[1\]: no 'id'"),
        (changed("images", 1, id=1.5), r"images\[1\]: 'id' is 1.5; write a whole number"),
        (changed("images", 1, id=41), r"images\[1\]: the id 41 occurs twice"),
        (changed("images", 1, file_name="c.jpg"), r"images\[1\]: 'c.jpg' is image 41 too"),
        (changed("images", 1, file_name=""), r"images\[1\]: 'file_name' is ''"),
        (changed("images", 1, file_name="a\x00"), r"images\[1\]: 'file_name' is 'a\\x00'"),
        (changed("images", 1, file_name="a\ud83d.png"), r"images\[1\]: 'file_name' is 'a\\ud83d.png'"),
        (changed("images", 1, file_name="a" * 5000), r"images\[1\]: 'file_name' is 'aaa"),
        (changed("images", 1, width="60"), r"images\[1\]: 'height' and 'width' are \(40, '60'\)"),
        (changed("images", 1, width=0), r"images\[1\]: 'height' and 'width'"),
        (without("annotations", 1, "id"), r"annotations\[1\]: no 'id'"),
        (changed("annotations", 1, id=50), r"annotations\[1\]: the id 50 occurs twice"),
        (changed("annotations", 1, image_id=7), "annotation 49: no image has the id 7"),
        (changed("annotations", 1, image_id=None), "annotation 49: 'image_id' is None"),
        (changed("annotations", 1, category_id=7), "annotation 49: no category has the id 7"),
        (without("annotations", 1, "bbox"), "annotation 49: no 'bbox'"),
        (changed("annotations", 1, bbox=[1, 2, 3]), r"annotation 49: 'bbox' is \[1, 2, 3\]"),
        (changed("annotations", 1, bbox=[1, 2, 3, "4"]), "annotation 49: 'bbox' is"),
        (changed("annotations", 1, bbox=[1, 2, 3, float("nan")]), "annotation 49: 'bbox' is"),
        (changed("annotations", 1, bbox=[1, 2, 3, float("inf")]), "annotation 49: 'bbox' is"),
        (changed("annotations", 1, bbox=[1, 2, 3, 10**400]), "annotation 49: 'bbox' is"),
        (changed("annotations", 1, bbox=[1, 2, -3, 4]), "annotation 49: 'bbox' .* has a negative side"),
        (changed("annotations", 1, iscrowd=2), "annotation 49: 'iscrowd' is 2"),
        (changed("categories", 1, id=9), r"categories\[1\]: the id 9 occurs twice"),
        (changed("categories", 1, name=None), r"categories\[1\]: 'name' is None"),
        (changed("categories", 1, name="pits"), r"annotation 50: the class 'pits' .* \(did you mean 'pit'\?\)"),
    ],
)
def test_a_broken_json_is_named_with_the_place(file: Path, content: Any, message: str) -> None:
    raw = content if isinstance(content, (str, bytes)) else json.dumps(content)
    file.write_bytes(raw.encode() if isinstance(raw, str) else raw)
    with pytest.raises(UserError, match=message) as caught:
        open_index(file, NAMES)
    assert str(caught.value).startswith(str(file))
    assert len(str(caught.value).splitlines()) == 1


def test_a_name_that_is_no_utf_8_is_that_of_a_file(file: Path) -> None:
    name = os.fsdecode(b"b\xfc.png")
    (file.parent / "images/b.png").rename(file.parent / "images" / name)
    index = open_index(write_coco(file, **changed("images", 1, file_name=name)), NAMES)
    assert str(file.parent / "images" / name) in index.paths
    assert not index.report.unreadable


def test_shares_are_told_from_pixels(file: Path) -> None:
    content = coco()
    for note in content["annotations"]:
        note["bbox"] = [0.1, 0.1, 0.5, 0.5]
    write_coco(file, **content)
    with pytest.raises(UserError, match="every box lies within one pixel"):
        open_index(file, NAMES)


def test_what_is_not_used_may_be_anything(file: Path) -> None:
    content = coco()
    content["categories"].append({"id": 0, "name": "defects", "supercategory": None})
    content["annotations"][0] |= {"segmentation": [[0.0] * 8], "area": "large", "score": None}
    content["images"][0].pop("width")
    content["licenses"] = 3
    write_coco(file, **content)
    assert len(open_index(file, NAMES).boxes) == 3


def test_the_image_counts_where_the_json_declares_another_size(file: Path, log: list[str]) -> None:
    write_coco(file, **changed("images", 1, width=6000, height=4000))
    write_images(file.parent / "images")
    index = open_index(file, NAMES)
    assert index.shapes.tolist() == [[40, 60]] * 3
    assert index.report.wrong_sizes == [(str(file.parent / "images/b.png"), "6000 x 4000 instead of 60 x 40")]
    index.report.log()
    assert sum("1 annotations declare another size" in message for message in log) == 1


def test_boxes_past_the_edge_are_cut_and_huge_ones_too(file: Path) -> None:
    notes = [[-10, -10, 1e9, 20], [59, 0, 5, 40], [70, 0, 5, 5], [3, 3, 0, 9]]
    content = coco()
    template = content["annotations"][0]
    content["annotations"] = [{**template, "id": i, "bbox": box} for i, box in enumerate(notes)]
    index = open_index(write_coco(file, **content), NAMES)
    assert index.boxes.tolist() == [[0, 0, 60, 10], [59, 0, 60, 40]]
    assert (index.report.cleaning.clipped, index.report.cleaning.no_area) == (2, 2)


def test_images_that_are_gone_are_left_out(file: Path) -> None:
    (file.parent / "images/b.png").unlink()
    index = open_index(file, NAMES)
    assert len(index.paths) == 2
    assert index.report.unreadable == [(str(file.parent / "images/b.png"), "No such file or directory")]


def test_folders_in_file_names_and_ids_that_are_words(file: Path) -> None:
    content = coco()
    for image in content["images"]:
        image |= {"id": f"#{image['id']}", "file_name": f"images\\{image['file_name']}"}
    for note in content["annotations"]:
        note["image_id"] = f"#{note['image_id']}"
    assert len(open_index(write_coco(file, **content), NAMES).boxes) == 3
