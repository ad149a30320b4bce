from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moat_det.data.formats.labelled_image import LabelledImage
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


def files(*paths: str, side: int = 64) -> list[LabelledImage]:
    return [LabelledImage(path, side, side, np.zeros(0, int), np.zeros((0, 4))) for path in paths]


def found_in(splits: dict[str, list[LabelledImage]], *names: str, **size: int) -> list[str]:
    """The paths that are found for images of these names."""
    found = find_files([{"id": k, "file_name": name, **size} for k, name in enumerate(names)], splits)
    return [found[name].path for name in names]


def test_files_are_found_by_the_end_of_their_path() -> None:
    splits = {"train": files("/d/train/x/a.png", "/d/train/y/a.png"), "val": files("/d/val/a.png")}
    assert found_in(splits, "a.png") == ["/d/val/a.png"]
    assert found_in(splits, "y/a.png") == ["/d/train/y/a.png"]
    with pytest.raises(UserError, match=r"b.png: no images of the dataset"):
        found_in(splits, "b.png")


def test_the_split_whose_images_these_are_comes_before_one_that_has_more() -> None:
    numbers = [f"{number:04}.png" for number in range(1, 9)]
    splits = {
        "train": files(*(f"/d/train/{name}" for name in numbers)),
        "val": files(*(f"/d/val/{name}" for name in numbers[:3])),
        "test": files("/d/test/a.png", "/d/test/x/a.png"),
    }
    assert found_in(splits, *numbers[:3]) == [f"/d/val/{name}" for name in numbers[:3]]
    # As a validation names them, one of these names is the end of both paths.
    assert found_in(splits, "a.png", "x/a.png") == ["/d/test/a.png", "/d/test/x/a.png"]
    several = ["train/0001.png", *(f"train/{name}" for name in numbers[1:]), *(f"val/{name}" for name in numbers[:3])]
    assert found_in(splits, *several) == [f"/d/{name}" for name in several]


def test_where_several_splits_have_the_names_their_sizes_decide_or_nothing() -> None:
    splits = {"train": files("/d/train/a.png"), "val": files("/d/val/a.png", side=32)}
    assert found_in(splits, "a.png", width=32, height=32) == ["/d/val/a.png"]
    assert found_in({**splits, "test": splits["val"]}, "a.png", width=32, height=32) == ["/d/val/a.png"]
    for size in ({}, {"width": 5, "height": 5}):
        with pytest.raises(UserError, match=r"a.png: may be /d/train/a.png or /d/val/a.png, as two splits"):
            found_in(splits, "a.png", **size)
