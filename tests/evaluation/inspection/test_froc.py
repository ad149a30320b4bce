from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from moat_det.evaluation.inspection.box_matches import match_boxes
from moat_det.evaluation.inspection.froc import Alarms, false_alarms, froc, gather, recall_interval
from moat_det.evaluation.inspection.intervals import count_interval, exact_interval
from moat_det.evaluation.inspection.parts import Parts, read_parts
from moat_det.evaluation.inspection.recall import class_labels, recall_by_class, recall_by_size

# Four images. Objects: a pit of 10 px and one of 50 px, a dent of 100 px, and a region to ignore.
TRUTH: dict[str, Any] = {
    "images": [{"id": number, "file_name": f"{number}.png"} for number in (1, 2, 3, 4)],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10], "area": 100, "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [100, 0, 50, 50], "area": 2500, "iscrowd": 0},
        {"id": 3, "image_id": 2, "category_id": 2, "bbox": [0, 0, 100, 100], "area": 10000, "iscrowd": 0},
        {"id": 4, "image_id": 3, "category_id": 1, "bbox": [0, 0, 80, 80], "area": 6400, "iscrowd": 1},
    ],
    "categories": [{"id": 1, "name": "pit"}, {"id": 2, "name": "dent"}, {"id": 3, "name": "crack"}],
}


def detection(image: int, category: int, box: list[int], score: float) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


FOUND = [
    detection(1, 1, [0, 0, 10, 10], 0.9),  # finds the small pit
    detection(1, 1, [0, 0, 10, 9], 0.8),  # a second one on it: a false alarm
    detection(2, 1, [0, 0, 100, 100], 0.7),  # of another class: a false alarm
    detection(2, 2, [0, 0, 100, 60], 0.6),  # finds the dent, IoU 0.6
    detection(1, 1, [100, 0, 50, 20], 0.5),  # IoU 0.4: a false alarm
    detection(3, 1, [0, 0, 40, 40], 0.4),  # on the region to ignore: neither
    detection(4, 3, [0, 0, 40, 40], 0.3),  # a false alarm on a good part
]


def measured() -> tuple[Alarms, Parts]:
    return gather(match_boxes(TRUTH, FOUND, np.array([0.5]), None)), read_parts(TRUTH, FOUND)


def test_recall_and_false_alarms_by_hand() -> None:
    alarms, parts = measured()
    assert sorted(alarms.found_at.tolist()) == [-1, 0.6, 0.9]
    assert alarms.scores[alarms.wrong].tolist() == [0.8, 0.7, 0.5, 0.3]
    assert false_alarms(alarms, parts, 0.5) == count_interval(np.array([2, 1, 0, 0]), np.ones(4))
    found = recall_interval(alarms.objects, alarms.found_at >= 0.7, parts)
    assert found is not None
    assert found.value == pytest.approx(1 / 3)


def test_froc_by_hand() -> None:
    alarms, parts = measured()
    points = froc(alarms, parts, resamples=50, at=(0.1, 0.25, 0.5, 1, 2, 5))
    # Less than one false alarm in four images cannot be told; above one an image there are no more detections.
    assert [point.false_alarms_per_image for point in points] == [0.25, 0.5, 1]
    assert [point.recall.value for point in points] == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert [point.threshold for point in points] == [0.9, 0.6, 0.6]
    for point in points:
        assert 0 <= point.recall.low <= point.recall.value <= point.recall.high <= 1


def test_detections_of_one_score_are_shown_together() -> None:
    found = [{**entry, "score": 0.5} for entry in FOUND]
    points = froc(gather(match_boxes(TRUTH, found, np.array([0.5]), None)), read_parts(TRUTH, found), at=(0.5, 2))
    # All four false alarms come with the first object, so that half an alarm an image finds none.
    assert [point.recall.value for point in points] == pytest.approx([0, 2 / 3])
    assert [point.threshold for point in points] == [1, 0.5]


def test_a_recall_of_one_has_no_interval_without_width() -> None:
    truth = {**TRUTH, "annotations": [TRUTH["annotations"][0], TRUTH["annotations"][2]]}
    found = [FOUND[0], FOUND[3], detection(4, 3, [0, 0, 40, 40], 0.3)]
    (point,) = froc(gather(match_boxes(truth, found, np.array([0.5]), None)), read_parts(truth, found), at=(0.25,))
    assert point.recall == exact_interval(2, 2)  # two images with a box


def test_without_objects_there_is_no_curve() -> None:
    truth = {**TRUTH, "annotations": []}
    assert froc(gather(match_boxes(truth, FOUND, np.array([0.5]), None)), read_parts(truth, FOUND)) == []


def test_without_detections_nothing_is_found() -> None:
    alarms, parts = gather(match_boxes(TRUTH, [], np.array([0.5]), None)), read_parts(TRUTH, [])
    (point,) = froc(alarms, parts, resamples=20, at=(0.25, 1))
    assert (point.recall.value, point.recall.low) == (0, 0)
    assert point.recall.high > 0.5
    alarm = false_alarms(alarms, parts, 0.25)
    assert alarm is not None
    assert alarm.value == 0


def test_recall_by_class_and_size_by_hand() -> None:
    matches, parts = match_boxes(TRUTH, FOUND, np.array([0.5]), None), read_parts(TRUTH, FOUND)
    by_class = recall_by_class(matches, parts, 0.25)
    assert {key: (row.found, row.objects) for key, row in by_class.items()} == {1: (1, 2), 2: (1, 1), 3: (0, 0)}
    assert by_class[3].recall is None
    rows = recall_by_size(matches, parts, 0.25)
    counts = {row.name: (row.found, row.objects) for row in rows}
    assert counts == {
        "small": (1, 1),
        "medium": (0, 1),
        "large": (1, 1),
        "smallest third": (1, 1),
        "middle third": (0, 1),
        "largest third": (1, 1),
    }
    thirds = [row for row in rows if row.buckets == "terciles"]
    assert [row.to_side for row in thirds] == pytest.approx([10, 50, 100])


def test_a_higher_threshold_finds_less() -> None:
    matches, parts = match_boxes(TRUTH, FOUND, np.array([0.5]), None), read_parts(TRUTH, FOUND)
    assert recall_by_class(matches, parts, 0.6)[2].found == 1
    assert recall_by_class(matches, parts, 0.61)[2].found == 0


def test_classes_of_one_name_carry_their_id() -> None:
    categories = [{"id": 1, "name": "pit"}, {"id": 2, "name": "pit"}, {"id": 3, "name": "dent"}]
    assert class_labels({"categories": categories}) == {1: "pit (1)", 2: "pit (2)", 3: "dent"}
