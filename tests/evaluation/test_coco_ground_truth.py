from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.evaluation import coco_ground_truth, number_images


def image(path: str, boxes: list[list[float]], classes: list[int]) -> LabelledImage:
    return LabelledImage(path, 100, 200, np.array(classes, dtype=int), np.array(boxes))


def test_ids_follow_the_sorted_file_names() -> None:
    images = [
        image("/d/val/b.png", [[1, 2, 4, 8], [0, 0, 10, 10]], [1, 0]),
        image("/d/val/c.png", [], []),
        image("/d/val/a.png", [[10.00004, 20, 30, 40.5]], [1]),
    ]
    coco = coco_ground_truth(images, {0: "pit", 1: "scratch"})
    assert coco["images"] == [
        {"id": number, "file_name": name, "width": 200, "height": 100}
        for number, name in enumerate(["a.png", "b.png", "c.png"], start=1)
    ]
    assert coco["categories"] == [{"id": 1, "name": "pit"}, {"id": 2, "name": "scratch"}]
    first, second, third = coco["annotations"]
    assert first == {
        "id": 1,
        "image_id": 1,
        "category_id": 2,
        "bbox": [10.0, 20.0, 20.0, 20.5],
        "area": 410.0,
        "iscrowd": 0,
    }
    assert (second["id"], second["image_id"], second["bbox"], second["area"]) == (2, 2, [1, 2, 3, 6], 18)
    assert (third["id"], third["image_id"], third["category_id"]) == (3, 2, 1)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/d/b/x.png", "/d/a/x.png", "/d/a/w.png"], ["a/w.png", "a/x.png", "b/x.png"]),
        (["/d/x.png", "/d/sub/x.png"], ["sub/x.png", "x.png"]),
        (["/d/b/y.png", "/d/a/z.png"], ["y.png", "z.png"]),
    ],
)
def test_equal_names_in_two_folders_become_relative_paths(paths: list[str], names: list[str]) -> None:
    coco = coco_ground_truth([image(path, [], []) for path in paths], {0: "pit"})
    assert [entry["file_name"] for entry in coco["images"]] == names
    assert [entry["id"] for entry in coco["images"]] == list(range(1, len(paths) + 1))


def test_numbers_do_not_depend_on_the_order_and_count_a_path_once() -> None:
    paths = [Path(f"{folder}/{name}.png") for folder in "ab" for name in "xyz"]
    expected = number_images(paths)
    assert number_images([*reversed(paths), paths[0]]) == expected
    assert sorted(expected.values()) == [1, 2, 3, 4, 5, 6]


def test_no_images_and_no_boxes_are_fine() -> None:
    assert coco_ground_truth([], {0: "pit"})["images"] == []
    assert coco_ground_truth([image("a.png", [], [])], {0: "pit"})["annotations"] == []
