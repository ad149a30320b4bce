from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.evaluation_sample import evaluator_of, random_detections, random_images
from helpers.inspected import validation
from moat_det.evaluation.inspection.inspection import Inspection, inspect
from moat_det.evaluation.inspection.plots import plot_inspection
from moat_det.evaluation.inspection.rule import Rule
from moat_det.evaluation.inspection.summary import summary


def inspected(count: int = 40, **options: Any) -> Inspection:
    images = random_images(count)
    evaluator = evaluator_of(images)
    for seed, image in enumerate(images):
        boxes, scores, classes = random_detections(image, seed)
        good = not len(image.boxes)
        evaluator.update(Path(image.path), boxes, scores * (0.9 if good else 1), classes)
    return inspect(evaluator.ground_truth, evaluator.predictions, resamples=50, **options)


def test_inspection_json_holds_each_figure_with_its_interval() -> None:
    found = inspected()
    content = json.loads(json.dumps(found.to_json_dict(), allow_nan=False))
    for name in (
        "escape",
        "overkill",
        "auroc",
        "overkill_at_zero_escape",
        "recall",
        "false_alarms_per_image",
        "ap",
    ):
        figure = content[name]
        assert figure["low"] <= figure["value"] <= figure["high"], name
    assert content["parts"] == content["images"] == 40
    assert 0 < content["defective_parts"] < 40
    assert set(content["recall_by_class"]) == {"scratch", "pit", "stain"}
    assert sum(row["objects"] for row in content["recall_by_size"] if row["buckets"] == "terciles") == sum(
        row["objects"] for row in content["recall_by_class"].values()
    )
    assert content["froc"]
    assert content["roc"][0]["threshold"] is None
    assert {"temperature", "bias", "ece_before", "ece_after", "bins"} <= content["calibration"].keys()


def test_figures_hold_at_the_threshold_that_is_asked() -> None:
    low, high = inspected(rule=Rule(0.3)), inspected(rule=Rule(0.95))
    assert low.escape is not None
    assert high.escape is not None
    assert low.escape.value < high.escape.value
    assert low.auroc == high.auroc


def test_what_is_looked_at_has_not_escaped() -> None:
    found = inspected(rule=Rule(0.95, review=0.3))
    assert found.escape == inspected(rule=Rule(0.3)).escape
    assert found.overkill == inspected(rule=Rule(0.95)).overkill
    assert found.recall == inspected(rule=Rule(0.3)).recall
    assert found.false_alarms_per_image == inspected(rule=Rule(0.95)).false_alarms_per_image
    scores = found.parts.scores
    assert found.reviewed is not None
    assert 0 < found.reviewed.value == ((scores >= 0.3) & (scores < 0.95)).mean()
    assert "at threshold 0.95 (review from 0.3): escape" in summary(found)
    assert "looked at" in summary(found)
    assert Rule.of_inspection(found.to_json_dict()) == found.rule


def test_with_thresholds_by_class_each_detection_is_judged_by_that_of_its_own() -> None:
    truth, found = validation(
        [
            ("a.png", ["scratch"], {"scratch": 0.4}),  # passes: a scratch needs 0.5
            ("b.png", ["scratch"], {"scratch": 0.6}),
            ("c.png", ["pit"], {"pit": 0.35}),
            ("d.png", [], {"scratch": 0.45}),  # passes, and rightly
            ("e.png", [], {"pit": 0.45}),
        ]
    )
    inspection = inspect(truth, found, rule=Rule(0.3, per_class={"scratch": 0.5, "pit": 0.3}), resamples=0)
    figures = (inspection.escape, inspection.overkill, inspection.recall, inspection.false_alarms_per_image)
    assert [figure and figure.value for figure in figures] == [pytest.approx(1 / 3), 0.5, pytest.approx(2 / 3), 0.2]
    assert {name: row.found for name, row in inspection.recall_by_class.items()} == {"scratch": 1, "pit": 1}
    assert len(set(inspection.parts.scores)) == 4  # those of all detections, for what holds at any threshold
    assert "at the threshold of each class: escape" in summary(inspection)


def test_groups_are_fewer_parts() -> None:
    # 000.png to 039.png: four parts of ten images each.
    found = inspected(group=r"^(\d\d)")
    assert found.to_json_dict()["parts"] == 4
    assert found.to_json_dict()["images"] == 40


def test_without_resamples_there_is_no_interval_of_ap() -> None:
    images = random_images(4)
    evaluator = evaluator_of(images)
    assert inspect(evaluator.ground_truth, [], resamples=0).ap is None


def test_a_split_without_good_parts_says_so() -> None:
    images = [image for image in random_images(20) if len(image.boxes)]
    evaluator = evaluator_of(images)
    found = inspect(evaluator.ground_truth, [], resamples=10)
    assert found.overkill is found.auroc is found.roc is None
    assert "no good part in the split" in summary(found)
    assert "no defective part" not in summary(found)
    assert found.escape is not None
    assert found.escape.value == 1


def test_a_split_without_anything_is_inspected() -> None:
    evaluator = evaluator_of([])
    content = inspect(evaluator.ground_truth, [], resamples=10).to_json_dict()
    assert content["parts"] == 0
    assert content["escape"] is content["auroc"] is content["ap"] is content["calibration"] is None
    assert content["froc"] == content["roc"] == []


def test_the_summary_says_the_figures_with_their_intervals() -> None:
    text = summary(inspected())
    for words in ("40 images as parts", "escape", "overkill", "AUROC", "AP", "ECE", "95 %"):
        assert words in text, words


def test_curves_are_drawn_and_old_ones_taken_away(tmp_path: Path) -> None:
    names = ("ROC_curve.png", "FROC_curve.png", "reliability.png")
    plot_inspection(tmp_path, inspected())
    assert all((tmp_path / name).stat().st_size > 5000 for name in names)
    plot_inspection(tmp_path, inspect(evaluator_of([]).ground_truth, [], resamples=10))
    assert not any((tmp_path / name).exists() for name in names)


@pytest.mark.parametrize("confidence", [0.9, 0.99])
def test_more_confidence_is_wider(confidence: float) -> None:
    usual, other = inspected(), inspected(confidence=confidence)
    for name in ("escape", "overkill", "auroc", "recall", "false_alarms_per_image"):
        ours, theirs = getattr(usual, name), getattr(other, name)
        assert (theirs.high - theirs.low > ours.high - ours.low) == (confidence > 0.95), name
