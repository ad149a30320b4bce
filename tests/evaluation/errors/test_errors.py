from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.evaluation_sample import evaluator_of, random_detections, random_images
from moat_det.evaluation.errors import ALARMS, error_analysis, write_errors
from moat_det.evaluation.errors.overlaps import match_images
from moat_det.evaluation.inspection.rule import Rule

CATEGORIES = [{"id": 1, "name": "scratch"}, {"id": 2, "name": "pit"}]


def truth(*objects: tuple[int, int, list[float]], images: int = 1, crowd: int = 0) -> dict[str, Any]:
    """Objects as (image, class, box); the last `crowd` of them are regions to ignore."""
    return {
        "images": [{"id": k, "file_name": f"{k}.png", "width": 200, "height": 200} for k in range(1, images + 1)],
        "annotations": [
            {"id": k, "image_id": image, "category_id": cls, "bbox": box, "area": box[2] * box[3]}
            | {"iscrowd": int(k > len(objects) - crowd)}
            for k, (image, cls, box) in enumerate(objects, 1)
        ],
        "categories": CATEGORIES,
    }


def found(*detections: tuple[int, int, list[float], float]) -> list[dict[str, Any]]:
    return [
        {"image_id": image, "category_id": cls, "bbox": box, "score": score} for image, cls, box, score in detections
    ]


OBJECTS = truth(
    (1, 1, [0, 0, 10, 10]),
    (1, 1, [20, 0, 10, 10]),
    (1, 2, [40, 0, 10, 10]),
    (1, 2, [60, 0, 10, 10]),
    (1, 1, [80, 0, 10, 10]),
    (1, 1, [100, 0, 10, 10]),
)
DETECTIONS = found(
    (1, 1, [0, 0, 10, 10], 0.9),  # right
    (1, 1, [0, 0, 10, 9], 0.8),  # on the same object
    (1, 2, [20, 0, 10, 10], 0.7),  # a scratch taken for a pit
    (1, 2, [40, 0, 10, 4], 0.6),  # IoU 0.4 with a pit
    (1, 1, [60, 0, 10, 4], 0.5),  # IoU 0.4 with a pit, as a scratch
    (1, 1, [150, 150, 10, 10], 0.4),  # on nothing
    (1, 1, [80, 0, 10, 10], 0.1),  # right, below the threshold
)


def test_every_kind_by_hand() -> None:
    content = error_analysis(OBJECTS, DETECTIONS, rule=Rule(0.25))
    assert content["right"] == 1
    assert content["counts"]["false_alarm"] == dict.fromkeys(ALARMS, 1)
    assert content["counts"]["miss"] == {"wrong_class": 1, "badly_placed": 1, "below_threshold": 1, "not_found": 2}
    rows = {(row["type"], row["kind"], row["bbox"][0]): row for row in content["errors"]}
    assert len(rows) == 10
    swapped = rows["false_alarm", "wrong_class", 20]
    assert (swapped["class"], swapped["other_class"], swapped["score"], swapped["iou"]) == ("pit", "scratch", 0.7, 1.0)
    assert rows["miss", "wrong_class", 20]["class"] == "scratch"
    assert rows["false_alarm", "background", 150]["other_bbox"] is None
    placed = rows["false_alarm", "badly_placed", 40]
    assert (placed["iou"], placed["other_bbox"]) == (0.4, [40, 0, 10, 10])
    assert rows["miss", "below_threshold", 80]["score"] == 0.1
    assert rows["miss", "not_found", 100]["other_class"] is None
    assert rows["miss", "not_found", 60]["other_class"] == "scratch"  # the closest, a class and a place off


def test_what_each_kind_costs_by_hand() -> None:
    """One class of two objects, so that AP can be counted: precision over 101 recalls."""
    objects = truth((1, 1, [0, 0, 10, 10]), (2, 1, [0, 0, 10, 10]), images=2)
    hit, background = (1, 1, [0, 0, 10, 10]), (1, 1, [100, 0, 10, 10])
    # Half of the recalls (0 to 0.5: 51 of 101) have the precision of the one hit.
    content = error_analysis(objects, found((*hit, 0.5), (*background, 0.9)))
    assert content["ap50"] == pytest.approx(51 / 101 / 2)
    lost = content["ap_lost"]
    assert lost["background"] == pytest.approx(51 / 101 / 2)
    assert lost["not_found"] == pytest.approx(1 / 2 - 51 / 101 / 2)
    assert lost["all_false_alarms"] == lost["background"]
    assert lost["all_misses"] == lost["not_found"]
    assert lost["duplicate"] == lost["wrong_class"] == lost["badly_placed"] == lost["both"] == 0

    # A badly placed box of the other object: moved it is right, removed (both) it would not be.
    content = error_analysis(objects, found((*hit, 0.9), (2, 1, [0, 0, 10, 4], 0.8)))
    assert content["ap_lost"]["badly_placed"] == pytest.approx(1 - 51 / 101)
    assert content["ap_lost"]["not_found"] == 0  # TIDE: the badly placed box is about it
    assert content["ap_lost"]["all_misses"] == pytest.approx(1 - 51 / 101)

    # Two of one object: the best becomes right, the other goes, and so does one of an object that is found.
    twice = found((*hit, 0.9), (2, 1, [0, 0, 10, 4], 0.8), (2, 1, [0, 0, 10, 3], 0.7), (1, 1, [0, 0, 10, 4], 0.95))
    assert error_analysis(objects, twice)["ap_lost"]["badly_placed"] == pytest.approx(
        1 - error_analysis(objects, twice)["ap50"]
    )

    # A hit below the threshold, behind a false alarm.
    low = found((*hit, 0.1), (*background, 0.9), (2, 1, [0, 0, 10, 10], 0.05))
    content = error_analysis(objects, low)
    assert content["ap50"] == pytest.approx(2 / 3)
    assert content["ap_lost"]["below_threshold"] == pytest.approx(1 / 3)
    assert error_analysis(objects, low, rule=Rule(0.01))["ap_lost"]["below_threshold"] == 0


def test_what_goes_to_review_is_neither_missed_nor_a_false_alarm() -> None:
    objects = truth(*((1, 1, [x, 0, 10, 10]) for x in (0, 20, 40, 60)))
    detections = found(
        (1, 1, [0, 0, 10, 10], 0.9),  # rejects
        (1, 1, [20, 0, 10, 10], 0.4),  # goes to review
        (1, 1, [40, 0, 10, 10], 0.2),  # passes
        (1, 2, [60, 0, 10, 10], 0.4),  # another class, to review
        (1, 1, [150, 0, 10, 10], 0.8),
        (1, 1, [150, 50, 10, 10], 0.4),  # wrong, but a person looks
    )
    content = error_analysis(objects, detections, Rule(0.6, review=0.3))
    assert (content["threshold"], content["review"], content["right"]) == (0.6, 0.3, 2)
    assert [(row["type"], row["kind"], row["bbox"][:2]) for row in content["errors"]] == [
        ("false_alarm", "background", [150, 0]),
        ("miss", "wrong_class", [60, 0]),
        ("miss", "below_threshold", [40, 0]),
    ]
    at_review = error_analysis(objects, detections, Rule(0.3))
    assert content["ap_lost"] == at_review["ap_lost"]
    assert content["counts"]["miss"] == at_review["counts"]["miss"]


def test_each_class_is_judged_at_its_own_threshold() -> None:
    """As the figures of `inspection.json` are."""
    objects = truth((1, 1, [0, 0, 10, 10]), (1, 2, [50, 0, 10, 10]))
    detections = found(
        (1, 1, [0, 0, 10, 10], 0.3),
        (1, 2, [50, 0, 10, 10], 0.3),
        (1, 1, [90, 0, 9, 9], 0.3),
        (1, 2, [90, 9, 9, 9], 0.3),
    )
    rule = Rule(0.2, per_class={"scratch": 0.2, "pit": 0.8})
    content = error_analysis(objects, detections, rule)
    assert [(row["type"], row["kind"], row["class"]) for row in content["errors"]] == [
        ("false_alarm", "background", "scratch"),
        ("miss", "below_threshold", "pit"),
    ]
    assert content["right"] == 1
    assert content["per_class"] == {"scratch": 0.2, "pit": 0.8}


def test_a_corrected_class_counts_for_the_object() -> None:
    objects = truth((1, 1, [0, 0, 10, 10]), (1, 2, [50, 0, 10, 10]))
    content = error_analysis(objects, found((1, 2, [0, 0, 10, 10], 0.9), (1, 2, [50, 0, 10, 10], 0.8)))
    assert content["ap50"] == pytest.approx((0 + 1 / 2) / 2)
    assert content["ap_lost"]["wrong_class"] == pytest.approx(1 - 1 / 4)
    # Of an object that is found already the wrong class is a double, which goes.
    both = found((1, 2, [0, 0, 10, 10], 0.9), (1, 1, [0, 0, 10, 10], 0.85), (1, 2, [50, 0, 10, 10], 0.8))
    assert error_analysis(objects, both)["ap_lost"]["wrong_class"] == pytest.approx(1 / 4)


def test_a_class_of_which_nothing_is_found_is_lost_to_misses() -> None:
    content = error_analysis(truth((1, 1, [0, 0, 10, 10])), [])
    assert (content["ap50"], content["ap_lost"]["not_found"]) == (0, 1)
    assert content["counts"]["miss"]["not_found"] == 1


def test_ap_is_that_of_the_validation(tmp_path: Path) -> None:
    images = random_images(40)
    evaluator = evaluator_of(images)
    for annotation in evaluator.ground_truth["annotations"][::7]:
        annotation["iscrowd"] = 1
    evaluator = type(evaluator)(
        evaluator.ground_truth,
        evaluator._image_ids,
        evaluator._category_ids,
        dict(enumerate(evaluator.labels.values())),
    )
    for seed, image in enumerate(images):
        evaluator.update(Path(image.path), *random_detections(image, seed, noise=1.5))
    content = write_errors(tmp_path, evaluator.ground_truth, evaluator.predictions)
    assert content["ap50"] == pytest.approx(evaluator.compute().AP50, abs=1e-12)
    assert json.loads((tmp_path / "errors.json").read_text()) == content
    # Each object is right or missed, each confident detection right or an alarm, but for those on crowds.
    objects = sum(not annotation["iscrowd"] for annotation in evaluator.ground_truth["annotations"])
    assert content["right"] + sum(content["counts"]["miss"].values()) == objects
    confident = sum(entry["score"] >= 0.25 for entry in evaluator.predictions)
    counted = content["right"] + sum(content["counts"]["false_alarm"].values())
    assert 0 < counted < confident
    assert all(cost >= 0 for cost in content["ap_lost"].values())


def test_what_is_detected_on_a_region_to_ignore_is_no_alarm() -> None:
    objects = truth((1, 1, [0, 0, 10, 10]), (1, 1, [50, 0, 50, 50]), crowd=1)
    detections = found((1, 1, [0, 0, 10, 10], 0.9), (1, 1, [60, 10, 10, 10], 0.8), (1, 2, [60, 10, 10, 10], 0.7))
    content = error_analysis(objects, detections)
    assert content["right"] == 1
    assert content["counts"]["false_alarm"] == {**dict.fromkeys(ALARMS, 0), "background": 1}
    assert sum(content["counts"]["miss"].values()) == 0


def test_nothing_to_measure() -> None:
    content = error_analysis(truth(images=2), found((1, 1, [0, 0, 5, 5], 0.9)))
    assert content["ap50"] is None
    assert set(content["ap_lost"].values()) == {None}
    assert [row["kind"] for row in content["errors"]] == ["background"]
    assert error_analysis({**truth(), "images": []}, [])["errors"] == []


def test_only_the_best_hundred_of_a_class_count() -> None:
    many = found(*[(1, 1, [0, 0, 5, 5], 0.5 + 0.001 * k) for k in range(120)])
    matches = match_images(truth((1, 1, [0, 0, 10, 10])), many)[0]
    assert len(matches.found) == 100
    assert np.all(np.diff([entry["score"] for entry in matches.found]) < 0)
