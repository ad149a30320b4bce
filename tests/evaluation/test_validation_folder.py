"""What a validation left, read again where it is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.inspected import validation
from moat_det.errors import UserError
from moat_det.evaluation.drift import read_sample
from moat_det.evaluation.inspection.inspection import read_inspection
from moat_det.evaluation.inspection.rule import Rule
from moat_det.evaluation.validation_folder import read_validation


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    truth, found = validation([("a.png", ["scratch"], {"scratch": 0.9}), ("b.png", [], {"pit": 0.3})])
    seen = {"image_id": [1, 2], "brightness": [90.0, 91.0], "sharpness": [5, 6]}
    contents = {"ground_truth": truth, "predictions": found, "inspection": {"threshold": 0.5}, "appearance": seen}
    for name, content in contents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def change(file: Path, path: tuple[Any, ...], value: Any) -> None:
    """Put a value where the keys and positions of the path lead; None takes away what is there."""
    content = json.loads(file.read_text())
    *way, last = path
    place = content
    for step in way:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "path", "value", "message"),
    [
        ("ground_truth", ("images",), {}, "no COCO ground truth; run moat val again"),
        ("ground_truth", ("images", 0, "file_name"), None, r"images\[0\] has no 'file_name'"),
        ("ground_truth", ("images", 1, "id"), "2", r"images\[1\] has the id \"2\"; it must be a whole number"),
        ("ground_truth", ("annotations", 0), "scratch", r"annotations\[0\] has no 'id'"),
        ("ground_truth", ("annotations", 0, "image_id"), 7, "annotation 1 has the image_id 7, which none of the im"),
        ("ground_truth", ("annotations", 0, "bbox"), [1, 2], r"annotation 1 has the bbox \[1, 2\]"),
        ("ground_truth", ("annotations", 0, "area"), "large", "annotation 1: its 'area' must be a number"),
        ("ground_truth", ("categories", 0, "name"), None, r"categories\[0\] has no 'name'"),
        ("predictions", (1, "score"), None, r"predictions\[1\] has no 'score'"),
        ("predictions", (1, "score"), "high", r"predictions\[1\]: its 'score' must be a number"),
        ("predictions", (0,), 3, r"predictions\[0\] has no 'image_id'"),
        ("predictions", (0, "image_id"), 9, r"predictions\[0\] has the image_id 9, which none of the images has"),
        ("predictions", (0, "category_id"), 9, r"predictions\[0\] has the category_id 9, which none of the categ"),
        ("predictions", (0, "bbox"), "here", r"predictions\[0\] has the bbox"),
    ],
)
def test_a_damaged_or_foreign_entry_is_a_line(
    folder: Path, name: str, path: tuple[Any, ...], value: Any, message: str
) -> None:
    assert len(read_validation(folder).predictions) == 2
    change(folder / f"{name}.json", path, value)
    with pytest.raises(UserError, match=f"{name}.json: {message}"):
        read_validation(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [("threshold", "low"), ("review", []), ("per_class", [0.3]), ("per_class", {"pit": "low"}), ("group", 3)],
)
def test_damaged_thresholds_are_a_line(folder: Path, key: str, value: Any) -> None:
    assert Rule.of_inspection(read_inspection(folder)).threshold == 0.5
    change(folder / "inspection.json", (key,), value)
    with pytest.raises(UserError, match=f"inspection.json: its '{key}' is .*; run moat val again"):
        read_inspection(folder)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("sharpness",), None, "has no list 'sharpness' of numbers"),
        (("brightness", 0), "dark", "has no list 'brightness' of numbers"),
        (("brightness", 0), None, "its 'image_id' is not of the images"),
        (("image_id", 0), 9, "its 'image_id' is not of the images"),
    ],
)
def test_a_damaged_appearance_is_a_line(folder: Path, path: tuple[Any, ...], value: Any, message: str) -> None:
    assert read_sample(folder, Rule())["sharpness"].tolist() == [5, 6]
    change(folder / "appearance.json", path, value)
    with pytest.raises(UserError, match=f"appearance.json: {message}.*; run moat val again"):
        read_sample(folder, Rule())
