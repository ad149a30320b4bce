from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.evaluation_sample import evaluator_of, outsider
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.errors import UserError
from moat_det.evaluation import STATS, CocoEvaluator, load_annotations, write_results
from moat_det.evaluation.make_evaluator import make_evaluator

NAMES = {0: "pit", 1: "scratch"}
PATHS = [Path("/d/images/val/a.png"), Path("/d/images/val/b.png")]


def content(**changes: Any) -> dict[str, Any]:
    coco = {
        "images": [{"id": 7, "file_name": "b.png"}, {"id": 3, "file_name": "images\\val\\a.png"}],
        "annotations": [
            {"id": 11, "image_id": 3, "category_id": 5, "bbox": [1, 2, 3, 4], "area": 9, "iscrowd": 1},
            {"id": 12, "image_id": 7, "category_id": 4, "bbox": [1, 2, 3, 4]},
        ],
        "categories": [
            {"id": 4, "name": "scratch"},
            {"id": 5, "name": "pit"},
            {"id": 0, "name": "all defects"},
        ],
    }
    return {**coco, **changes}


def write(folder: Path, coco: Any) -> Path:
    path = folder / "instances.json"
    path.write_text(coco if isinstance(coco, str) else json.dumps(coco))
    return path


def test_ids_come_from_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    coco, image_ids, category_ids = load_annotations(write(tmp_path, content()), PATHS, NAMES)
    assert image_ids == {PATHS[0]: 3, PATHS[1]: 7}
    assert category_ids == {0: 5, 1: 4}
    expected = content()
    expected["annotations"][1] |= {"area": 12, "iscrowd": 0}
    assert coco == expected
    assert not caplog.records


def test_of_the_file_too_only_the_classes_that_are_looked_for_count(tmp_path: Path) -> None:
    file = str(write(tmp_path, content()))
    images = [LabelledImage(str(path), 100, 100, np.zeros(0), np.zeros((0, 4))) for path in PATHS]
    evaluator = make_evaluator(images, NAMES, file, only=[1])
    assert [each["id"] for each in evaluator.ground_truth["annotations"]] == [12]
    assert len(make_evaluator(images, NAMES, file).ground_truth["annotations"]) == 2


def test_a_byte_order_mark_is_no_matter(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeff" + json.dumps(content()))
    assert load_annotations(path, PATHS, NAMES)[2] == {0: 5, 1: 4}


def test_equal_base_names_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    names = ["x.png", "sub/x.png", "other/sub/x.png"]
    images = [{"id": number, "file_name": name} for number, name in enumerate(names, start=1)]
    paths = [Path("/d/val") / name for name in names]
    path = write(tmp_path, content(images=images, annotations=[]))
    assert list(load_annotations(path, paths, NAMES)[1].values()) == [1, 2, 3]


def box(value: Any) -> list[dict[str, Any]]:
    return [{"id": 1, "image_id": 3, "category_id": 5, "bbox": value}]


@pytest.mark.parametrize(
    ("coco", "says"),
    [
        ("{", "line 1: broken JSON"),
        ([], "no COCO detection JSON"),
        ({"images": [], "annotations": []}, "'categories'"),
        (content(images=[{"id": 7, "file_name": "b.png"}]), "1 of the split's 2 images .* first .*a.png"),
        (content(images=[{"id": 7}]), r"images\[0\] has no 'file_name'"),
        (content(images=[{"id": "7", "file_name": "b.png"}]), r"images\[0\] has the id \"7\""),
        (
            content(images=[{"id": 7, "file_name": n} for n in ("a.png", "b.png")]),
            "images holds the id 7 twice",
        ),
        (
            content(images=[{"id": i, "file_name": n} for i, n in enumerate(["a.png", "b.png", "a.png"])]),
            r"several images fit .*a.png \(ids 0 and 2\)",
        ),
        (content(categories=[{"id": 5, "name": "pit"}]), "1 of 2 classes .* first 'scratch'; it has 'pit'"),
        (content(categories=[{"id": i, "name": "pit"} for i in (1, 2)]), "two categories are named 'pit'"),
        (content(annotations=box([1, 2, 3])), r"annotation 1 has the bbox \[1, 2, 3\]"),
        (content(annotations=box([1, 2, 3, float("nan")])), "annotation 1 has the bbox"),
        (content(annotations=box([1, 2, 3, 10**400])), "annotation 1 has the bbox"),
        (content(annotations=box([9, 2, -3, 4])), r"annotation 1 has the bbox \[9, 2, -3, 4\]; .* no side below 0"),
        (
            content(annotations=[{**box([1, 2, 3, 4])[0], "category_id": 8}]),
            "annotation 1 has the category_id 8, which none of the categories has; correct it, or remove",
        ),
        (
            content(annotations=[{**box([1, 2, 3, 4])[0], "image_id": 8}]),
            "annotation 1 has the image_id 8, which none of the images has; correct it, or remove",
        ),
        (content(annotations=[{**box([1, 2, 3, 4])[0], "area": None}]), "annotation 1: its 'area' must"),
        (
            content(annotations=[{"id": 1, "image_id": 3, "category_id": 5}]),
            r"annotations\[0\] has no 'bbox'",
        ),
        (content(annotations=[*box([1, 2, 3, 4]), *box([1, 2, 3, 4])]), "annotations holds the id 1 twice"),
    ],
)
def test_what_does_not_fit_is_one_line_that_names_the_file(tmp_path: Path, coco: Any, says: str) -> None:
    path = write(tmp_path, coco)
    with pytest.raises(UserError, match=says) as caught:
        load_annotations(path, PATHS, NAMES)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_one_entry_for_two_images_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, content(images=[{"id": 1, "file_name": "x.png"}], annotations=[]))
    with pytest.raises(UserError, match=r"image id 1 fits both .*/a/x.png and .*/b/x.png"):
        load_annotations(path, [Path("/d/a/x.png"), Path("/d/b/x.png")], NAMES)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json: cannot be read"):
        load_annotations(tmp_path / "none.json", PATHS, NAMES)


@pytest.mark.parametrize(
    ("paths", "names", "changes", "says"),
    [
        (PATHS[:1], NAMES, {}, "1 of its images are not in the split, first b.png"),
        (PATHS, {0: "pit"}, {}, "the model does not know 'scratch'"),
        (
            PATHS,
            NAMES,
            {"annotations": [{"id": 0, "image_id": 3, "category_id": 5, "bbox": [1, 2, 3, 4]}]},
            "id 0",
        ),
    ],
)
def test_what_lowers_the_numbers_is_a_warning(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    paths: list[Path],
    names: dict[int, str],
    changes: dict[str, Any],
    says: str,
) -> None:
    load_annotations(write(tmp_path, content(**changes)), paths, names)
    assert len(caplog.records) == 1
    assert says in caplog.text


def read_yolo(folder: Path, width: int, height: int) -> list[LabelledImage]:
    images = []
    for path in sorted((folder / "images" / "val").iterdir()):
        label = folder / "labels" / "val" / f"{path.stem}.txt"
        rows = np.array([line.split() for line in label.read_text().splitlines()], dtype=float).reshape(-1, 5)
        centre, size = rows[:, 1:3] * [width, height], rows[:, 3:] * [width, height]
        corners = np.hstack([centre - size / 2, centre + size / 2])
        images.append(LabelledImage(str(path), height, width, rows[:, 0].astype(int), corners))
    return images


def test_labels_and_the_sets_own_json_agree_on_real_data(shared: Path, tmp_path: Path) -> None:
    folder = shared / "datasets" / "neu_det"
    if not folder.is_dir():
        pytest.skip(f"no neu_det in {folder.parent}")
    file = folder / "annotations" / "instances_val.json"
    names = {c["id"] - 1: c["name"] for c in json.loads(file.read_text())["categories"]}
    images = read_yolo(folder, 200, 200)
    from_labels = evaluator_of(images, names)
    from_json = CocoEvaluator(*load_annotations(file, [Path(image.path) for image in images], names), names)
    rng = np.random.default_rng(0)
    for image in images:
        boxes = np.repeat(image.boxes, 2, axis=0)
        boxes = boxes + rng.normal(0, 5, boxes.shape)
        scores, classes = rng.random(len(boxes)), np.repeat(image.classes, 2)
        from_labels.update(Path(image.path), boxes, scores, classes)
        from_json.update(Path(image.path), boxes, scores, classes)
    ours, own = from_labels.compute(), from_json.compute()
    assert ours.images == own.images == 360
    assert 0.2 < own.AP < 0.9
    assert [getattr(ours, name) for name in STATS] == pytest.approx([getattr(own, name) for name in STATS], abs=1e-4)
    # And for the set's own file the numbers are an outsider's, to the last digit.
    write_results(tmp_path, from_json, own, {})
    stats = outsider(file, tmp_path / "predictions.json").tolist()
    assert [getattr(own, name) for name in STATS] == stats
