from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moat_det.errors import UserError
from moat_det.evaluation.errors.find_files import find_files
from moat_det.evaluation.errors.join_runs import join_runs
from moat_det.evaluation.validation_folder import Validation


def run(names: list[str], first_id: int = 1, pit: int = 1, box: tuple[float, ...] = (0, 0, 9, 9)) -> Validation:
    """A validation of images with a pit each, and a detection of it."""
    images = [{"id": first_id + k, "file_name": name} for k, name in enumerate(names)]
    labels = [
        {"id": k + 1, "image_id": image["id"], "category_id": pit, "bbox": list(box)} for k, image in enumerate(images)
    ]
    found = [{key: label[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.5} for label in labels]
    truth: dict[str, Any] = {"images": images, "annotations": labels, "categories": [{"id": pit, "name": "pit"}]}
    return Validation(Path(names[0]), truth, found)


def test_runs_of_the_same_images_are_two_models() -> None:
    truth, models = join_runs([run(["a.png", "b.png"]), run(["b.png", "a.png"], first_id=7, pit=3)])
    assert [len(found) for found in models] == [2, 2]
    assert {entry["category_id"] for entry in models[1]} == {1}
    names = {image["id"]: image["file_name"] for image in truth["images"]}
    assert [names[entry["image_id"]] for entry in models[1]] == ["b.png", "a.png"]


def test_runs_of_different_images_are_one_model() -> None:
    truth, models = join_runs([run(["a.png", "b.png"]), run(["c.png"], pit=2)])
    assert [len(found) for found in models] == [3]
    assert len({image["id"] for image in truth["images"]}) == 3
    names = {image["id"]: image["file_name"] for image in truth["images"]}
    assert names[truth["annotations"][-1]["image_id"]] == "c.png" == names[models[0][-1]["image_id"]]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (run(["b.png", "c.png"]), "has 1 images in common with the other runs, but not a.png"),
        (run(["a.png", "b.png"], box=(0, 0, 9, 8)), "has other labels of a.png than"),
    ],
)
def test_runs_that_do_not_fit(other: Validation, message: str) -> None:
    with pytest.raises(UserError, match=message):
        join_runs([run(["a.png", "b.png"]), other])


def test_files_are_found_by_the_end_of_their_path() -> None:
    splits = {"train": ["/d/train/x/a.png", "/d/train/y/a.png"], "val": ["/d/val/a.png"]}
    assert find_files([{"id": 1, "file_name": "a.png"}], splits) == {1: "/d/val/a.png"}
    assert find_files([{"id": 1, "file_name": "y/a.png"}], splits) == {1: "/d/train/y/a.png"}
    with pytest.raises(UserError, match=r"b.png: no images of the dataset"):
        find_files([{"id": 1, "file_name": "b.png"}], splits)
