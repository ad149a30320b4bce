from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from helpers.evaluation_sample import evaluator_of, random_detections, random_images
from moat_det.evaluation.inspection.average_precision import ap_interval, average_precision, mean_ap
from moat_det.evaluation.inspection.box_matches import match_boxes
from moat_det.evaluation.inspection.parts import read_parts


def split(count: int = 30, seed: int = 0, crowd: bool = False) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    images = random_images(count, seed)
    evaluator = evaluator_of(images)
    for number, image in enumerate(images):
        boxes, scores, classes = random_detections(image, number, noise=12)
        # Equal scores would lie in another order where images are drawn twice.
        evaluator.update(Path(image.path), boxes, scores + np.arange(len(scores)) * 1e-4 + number * 1e-6, classes)
    if crowd:
        for annotation in evaluator.ground_truth["annotations"][::7]:
            annotation["iscrowd"] = 1
    return evaluator.ground_truth, evaluator.predictions


def drawn(truth: dict[str, Any], found: list[dict[str, Any]], counts: np.ndarray) -> tuple[dict[str, Any], list[Any]]:
    """The files of a split in which each image lies so many times."""
    images: list[Any] = []
    annotations: list[Any] = []
    predictions: list[Any] = []
    for image, count in zip(truth["images"], counts, strict=True):
        for _ in range(count):
            number = len(images) + 1
            images.append({**image, "id": number})
            own = [a for a in truth["annotations"] if a["image_id"] == image["id"]]
            annotations += [{**a, "image_id": number, "id": len(annotations) + k} for k, a in enumerate(own, 1)]
            predictions += [{**d, "image_id": number} for d in found if d["image_id"] == image["id"]]
    return {**truth, "images": images, "annotations": annotations}, predictions


def plain_precision(truth: dict[str, Any], found: list[dict[str, Any]]) -> np.ndarray:
    """The precision of pycocotools itself, (IoU, recall, class)."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {**truth, "annotations": [dict(a) for a in truth["annotations"]]}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes([dict(d) for d in found]), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][:, :, :, 0, -1]


@pytest.mark.parametrize("crowd", [False, True])
def test_with_every_image_once_it_is_that_of_pycocotools(crowd: bool) -> None:
    truth, found = split(crowd=crowd)
    ours = average_precision(match_boxes(truth, found), np.ones((1, len(truth["images"])), dtype=int))
    plain = plain_precision(truth, found)
    np.testing.assert_allclose(ours[0].T, plain.mean(axis=1), rtol=0, atol=1e-12)
    assert mean_ap(ours)[0] == pytest.approx(plain[plain > -1].mean(), abs=1e-12)
    assert 0.05 < mean_ap(ours)[0] < 0.95


@pytest.mark.parametrize("crowd", [False, True])
def test_a_resample_is_what_pycocotools_gives_for_its_files(crowd: bool) -> None:
    truth, found = split(20, seed=5, crowd=crowd)
    counts = np.random.default_rng(2).multinomial(20, np.full(20, 1 / 20), size=3)
    ours = average_precision(match_boxes(truth, found), counts)
    for row, count in zip(ours, counts, strict=True):
        plain = plain_precision(*drawn(truth, found, count))
        np.testing.assert_allclose(row.T, plain.mean(axis=1), rtol=0, atol=1e-12)


def test_a_class_without_objects_has_none() -> None:
    truth, found = split(20)
    truth["annotations"] = [a for a in truth["annotations"] if a["category_id"] != 2]
    ours = average_precision(match_boxes(truth, found), np.ones((1, 20), dtype=int))
    assert np.isnan(ours[0, 1]).all()
    assert np.isfinite(ours[0, [0, 2]]).all()


def test_without_detections_it_is_zero_and_without_objects_there_is_none() -> None:
    truth, _ = split(10)
    assert ap_interval(match_boxes(truth, []), read_parts(truth, []), resamples=20) == (0, 0, 0)
    empty = {**truth, "annotations": []}
    assert ap_interval(match_boxes(empty, []), read_parts(empty, []), resamples=20) is None


def test_the_interval_holds_the_value_and_narrows_with_more_images() -> None:
    widths = []
    for count in (20, 80):
        truth, found = split(count)
        interval = ap_interval(match_boxes(truth, found), read_parts(truth, found), resamples=200)
        assert interval is not None
        assert interval.low < interval.value < interval.high
        widths.append(interval.high - interval.low)
    assert widths[1] < 0.75 * widths[0]


def test_images_of_a_part_are_drawn_together() -> None:
    truth, found = split(20)
    copies, predictions = drawn(truth, found, np.full(20, 4))
    names = [str(image["file_name"]) for image in truth["images"] for _ in range(4)]
    for image, name in zip(copies["images"], names, strict=True):
        image["file_name"] = name
    alone = ap_interval(match_boxes(truth, found), read_parts(truth, found), resamples=100)
    grouped = ap_interval(match_boxes(copies, predictions), read_parts(copies, predictions, group=r".+"), resamples=100)
    # Four pictures of each part tell no more than one.
    assert alone is not None
    np.testing.assert_allclose(grouped, alone, rtol=0, atol=1e-9)


def test_an_object_with_the_id_zero_can_be_found() -> None:
    truth, _ = split(4)
    first = {**truth["annotations"][0], "id": 0}
    truth["annotations"] = [first]
    found = [{key: first[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.5}]
    of_class = match_boxes(truth, found)[first["category_id"] - 1]
    assert of_class.right.all()
    assert of_class.found_at.tolist() == [[0.5]] * 10
