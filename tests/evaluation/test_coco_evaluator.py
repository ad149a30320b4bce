from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from helpers.evaluation_sample import NAMES, evaluator_of, only, outsider, random_detections, random_images
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.evaluation import STATS, CocoEvaluator, CocoMetrics, write_results
from moat_det.evaluation.matching import BoxEval


def numbers(metrics: CocoMetrics) -> list[float]:
    return [getattr(metrics, name) for name in STATS]


def without_boxes(image: LabelledImage) -> LabelledImage:
    return only(image, np.zeros(len(image.classes), dtype=bool))


def test_perfect_detections_have_ap_1() -> None:
    images = random_images(30)
    evaluator = evaluator_of(images)
    for image in images:
        evaluator.update(Path(image.path), image.boxes, np.ones(len(image.boxes)), image.classes)
    metrics = evaluator.compute()
    every = [metrics.AP, metrics.AP50, metrics.APs, metrics.APm, metrics.APl, metrics.AR100]
    assert every == pytest.approx([1.0] * 6, abs=1e-12)
    assert {row["AP"] for row in metrics.per_class.values()} == {1.0}
    assert metrics.images == 30


def test_per_class_counts_images_and_boxes_in_the_order_of_the_names() -> None:
    images = random_images(30)
    per_class = evaluator_of(images).compute().per_class
    assert list(per_class) == list(NAMES.values())
    for index, name in NAMES.items():
        assert per_class[name]["boxes"] == sum(int((image.classes == index).sum()) for image in images)
        assert per_class[name]["images"] == sum(bool((image.classes == index).any()) for image in images)


def test_order_of_updates_does_not_matter() -> None:
    images = random_images(40)
    reference, shuffled = evaluator_of(images), evaluator_of(images)
    for seed, image in enumerate(images):
        reference.update(Path(image.path), *random_detections(image, seed))
    for seed in np.random.default_rng(1).permutation(len(images)):
        shuffled.update(Path(images[seed].path), *random_detections(images[seed], int(seed)))
    assert 0 < reference.compute().AP < 1
    assert reference.predictions == shuffled.predictions
    assert numbers(reference.compute()) == numbers(shuffled.compute())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_outsider_gets_the_same_numbers_from_the_files(tmp_path: Path, seed: int) -> None:
    images = random_images(40, seed)
    evaluator = evaluator_of(images)
    for number, image in enumerate(images[:-5]):  # Five images without any update.
        evaluator.update(Path(image.path), *random_detections(image, 100 * seed + number))
    metrics = evaluator.compute()
    write_results(tmp_path, evaluator, metrics, {"inference": 1.0})
    stats = outsider(tmp_path / "ground_truth.json", tmp_path / "predictions.json").tolist()
    assert numbers(metrics) == stats
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert [written[name] for name in STATS] == stats


def test_per_class_ap_is_that_of_the_class_alone(tmp_path: Path) -> None:
    images = random_images(40)
    evaluator = evaluator_of(images)
    for seed, image in enumerate(images):
        evaluator.update(Path(image.path), *random_detections(image, seed))
    metrics = evaluator.compute()
    for index, name in NAMES.items():
        alone = evaluator_of([only(image, image.classes == index) for image in images])
        for seed, image in enumerate(images):
            boxes, scores, classes = random_detections(image, seed)
            alone.update(Path(image.path), *(part[classes == index] for part in (boxes, scores, classes)))
        expected = alone.compute()
        assert metrics.per_class[name]["AP"] == pytest.approx(expected.AP, abs=1e-12)
        assert metrics.per_class[name]["AP50"] == pytest.approx(expected.AP50, abs=1e-12)


def test_matching_equals_pycocotools_with_crowds_ties_and_an_id_of_zero() -> None:
    images = random_images(40, seed=3)
    evaluator = evaluator_of(images)
    rng = np.random.default_rng(0)
    for annotation in evaluator.ground_truth["annotations"]:
        annotation["id"] -= 1
        annotation["area"] *= 0.7  # As of a polygon.
        if rng.random() < 0.2:
            annotation.update(iscrowd=1, bbox=[0, 0, 640, 512])  # Over all other objects.
    for number in range(len(images)):
        # An IoU of just 0.5 with the detection below.
        new = dict(id=1000 + number, image_id=number + 1, category_id=1, bbox=[0, 500, 10, 5], area=50, iscrowd=0)
        evaluator.ground_truth["annotations"].append(new)
    for seed, image in enumerate(images):
        boxes, scores, classes = random_detections(image, seed, noise=3)
        boxes, scores, classes = (
            np.vstack([boxes, [0, 500, 10, 510]]),
            np.append(scores, 1),
            np.append(classes, 0),
        )
        evaluator.update(Path(image.path), boxes, scores, classes)
    results = []
    for evaluate in (lambda *coco: COCOeval(*coco, "bbox"), BoxEval):
        coco = COCO()
        coco.dataset = json.loads(json.dumps(evaluator.ground_truth))
        coco.createIndex()
        evaluation = evaluate(coco, coco.loadRes(evaluator.predictions))
        evaluation.evaluate()
        evaluation.accumulate()
        results.append(evaluation.eval)
    for part in ("precision", "recall", "scores"):
        np.testing.assert_array_equal(results[0][part], results[1][part])


def test_no_detection_gives_zeros() -> None:
    metrics = evaluator_of(random_images(60)).compute()
    assert numbers(metrics) == [0.0] * 12
    assert all(row["AP"] == 0 and row["boxes"] > 0 for row in metrics.per_class.values())


@pytest.mark.parametrize("detections", [True, False])
def test_only_good_parts_give_minus_one(detections: bool) -> None:
    images = random_images(8)
    evaluator = evaluator_of([without_boxes(image) for image in images])
    for seed, image in enumerate(images if detections else []):
        evaluator.update(Path(image.path), *random_detections(image, seed))
    metrics = evaluator.compute()
    assert numbers(metrics) == [-1.0] * 12
    assert all(row == {"AP": -1, "AP50": -1, "images": 0, "boxes": 0} for row in metrics.per_class.values())


def test_a_class_without_objects_has_minus_one_and_no_part_in_the_mean() -> None:
    images = random_images(20)
    evaluator = evaluator_of(images, {**NAMES, 3: "crack"})
    for image in images:
        evaluator.update(Path(image.path), image.boxes, np.ones(len(image.boxes)), image.classes)
    evaluator.update(Path(images[0].path), np.array([[0, 0, 9, 9]]), np.ones(1), np.array([3]))
    evaluator.update(Path(images[0].path), images[0].boxes, np.ones(len(images[0].boxes)), images[0].classes)
    metrics = evaluator.compute()
    assert metrics.per_class["crack"] == {"AP": -1, "AP50": -1, "images": 0, "boxes": 0}
    assert metrics.AP == 1.0


def test_computing_changes_neither_the_ground_truth_nor_the_predictions() -> None:
    images = random_images(10)
    evaluator = evaluator_of(images)
    for seed, image in enumerate(images):
        evaluator.update(Path(image.path), *random_detections(image, seed))
    before = json.dumps([evaluator.ground_truth, evaluator.predictions])
    first = numbers(evaluator.compute())
    assert json.dumps([evaluator.ground_truth, evaluator.predictions]) == before
    assert numbers(evaluator.compute()) == first


def test_updating_an_image_again_replaces_and_reset_forgets() -> None:
    images = random_images(10)
    evaluator = evaluator_of(images)
    evaluator.update(Path(images[3].path), *random_detections(images[3], 0))
    once = evaluator.predictions
    evaluator.update(Path(images[3].path), *random_detections(images[3], 0))
    assert evaluator.predictions == once
    evaluator.reset()
    assert evaluator.predictions == []


def test_predictions_are_rounded_boxes_with_whole_scores_and_finite() -> None:
    image = random_images(1)[0]
    evaluator = evaluator_of([image])
    boxes = np.array([[1.00049, 2, 11.0, 12.3456], [np.nan, 0, 1, 1], [0, 0, np.inf, 1]], dtype=np.float32)
    evaluator.update(Path(image.path), boxes, np.array([0.123456789, 0.5, 0.5]), np.array([2, 0, 0]))
    assert evaluator.predictions == [
        {"image_id": 1, "category_id": 3, "bbox": [1.0, 2.0, 10.0, 10.346], "score": 0.123456789}
    ]


def test_pycocotools_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    images = random_images(5)
    evaluator = evaluator_of(images)
    evaluator.update(Path(images[0].path), *random_detections(images[0], 0))
    evaluator.compute()
    assert capfd.readouterr() == ("", "")


def test_unknown_path_and_class_are_refused() -> None:
    image = random_images(1)[0]
    evaluator = evaluator_of([image])
    with pytest.raises(KeyError):
        evaluator.update(Path("other.png"), *random_detections(image, 0))
    with pytest.raises(KeyError):
        evaluator.update(Path(image.path), np.array([[0, 0, 1, 1]]), np.ones(1), np.array([7]))


def test_names_that_occur_twice_keep_a_row_each() -> None:
    images = random_images(20)
    evaluator = evaluator_of(images, {0: "scratch", 1: "scratch", 2: "stain"})
    assert list(evaluator.compute().per_class) == ["scratch (1)", "scratch (2)", "stain"]


def test_categories_that_only_the_ground_truth_knows_count() -> None:
    images = random_images(20)
    full = evaluator_of(images)
    paths = {Path(image.path): number for number, image in enumerate(images, start=1)}
    # The model's only class is the file's third category.
    evaluator = CocoEvaluator(full.ground_truth, paths, {0: 3}, {0: "stain"})
    for image in images:
        stains = image.classes == 2
        evaluator.update(Path(image.path), image.boxes[stains], np.ones(stains.sum()), np.zeros(stains.sum()))
    metrics = evaluator.compute()
    assert {name: row["AP"] for name, row in metrics.per_class.items()} == {
        "stain": 1.0,
        "scratch": 0.0,
        "pit": 0.0,
    }
    mean = metrics.AP
    assert mean == pytest.approx(1 / 3)
