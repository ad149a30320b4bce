"""Operating points: what is promised, what it costs, and that the file says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.inspected import settings, validation
from moat_det.errors import UserError
from moat_det.evaluation.inspection.choose_threshold import just_above
from moat_det.evaluation.inspection.describe import describe
from moat_det.evaluation.inspection.find_operating_point import find_operating_point
from moat_det.evaluation.inspection.operating_point import OperatingPoint, read_operating_point, read_thresholds
from moat_det.evaluation.inspection.targets import TargetOptions

GOOD = [(f"good{i}.png", [], {"pit": 0.05 + i / 1000}) for i in range(100)]  # 0.050 to 0.149
BAD = [(f"bad{i}.png", ["scratch"], {"scratch": 0.1 + i / 1000}) for i in range(93)]  # 0.100 to 0.192


def find(images: Any, **options: Any) -> OperatingPoint:
    group = options.pop("group", None)
    return find_operating_point(*validation(images), TargetOptions(**options), settings(), group)


def test_an_escape_and_what_it_costs() -> None:
    point = find(GOOD + BAD, max_escape=0.05)
    assert point.threshold == 0.101  # of 93 parts one may pass
    assert (point.review, point.per_class, point.nearest) == (None, {}, None)
    assert (point.target.name, point.target.value, point.confidence) == ("max_escape", 0.05, 0.95)
    assert point.estimate == 1 / 93
    assert point.limit is not None
    assert 1 / 93 < point.limit <= 0.05
    assert (point.parts, point.defective_parts, point.units) == (193, 93, 93)
    assert point.cost is not None
    assert point.cost["name"] == "overkill"
    assert point.cost["value"] == 0.49  # those from 0.101 on
    assert point.cost["low"] < 0.49 < point.cost["high"]


def test_an_overkill_costs_escapes() -> None:
    point = find(GOOD + BAD, max_overkill=0.05)
    assert point.threshold == just_above(0.148)  # of 100 parts one may be rejected
    assert point.estimate == 0.01
    assert point.cost is not None
    assert point.cost["name"] == "escape"
    assert point.cost["value"] == 49 / 93


def test_recall_and_false_alarms_pay_for_each_other() -> None:
    images = [(f"{i}.png", ["scratch"], {"scratch": 0.5 + i / 1000, "pit!": 0.2 + i / 1000}) for i in range(94)]
    recall, alarms = find(images, target_recall=0.95), find(images, max_false_alarms_per_image=0.06)
    assert recall.threshold == 0.501
    assert recall.estimate == pytest.approx(93 / 94)  # whose effective number is 93
    assert recall.limit is not None
    assert 0.95 <= recall.limit < 93 / 94
    assert recall.cost is not None
    assert (recall.cost["name"], recall.cost["value"]) == ("false_alarms_per_image", 0)
    # Poisson's limits of 0, 1 and 2 events are 3.0, 4.7 and 6.3; 94 images may have 5.64.
    assert alarms.threshold == just_above(0.292)
    assert alarms.cost is not None
    assert (alarms.cost["name"], alarms.cost["value"]) == ("recall", 1)


def test_a_detection_of_the_wrong_class_finds_the_part_but_not_the_box() -> None:
    images = [(f"{i}.png", ["scratch"], {"pit": 0.5}) for i in range(93)]
    assert find(images, max_escape=0.05).threshold == 0.5
    point = find(images, target_recall=0.95)
    assert point.threshold is None
    assert point.estimate == 0


def test_images_of_a_group_are_one_part() -> None:
    """Each board is seen twice; one image shows the label, the other one has the detection."""
    images = [
        (f"board{i:02}_{side}.png", ["scratch"] if side == "a" else [], {} if side == "a" else {"scratch": 0.5})
        for i in range(59)
        for side in "ab"
    ]
    assert find(images, max_escape=0.05).threshold is None
    point = find(images, max_escape=0.05, group=r"^(board\d+)_")
    assert point.threshold == 0.5
    assert (point.parts, point.defective_parts, point.group) == (59, 59, r"^(board\d+)_")


@pytest.mark.parametrize(
    ("options", "images", "unit"),
    [
        ({"max_escape": 0.05}, GOOD, "defective parts"),
        ({"max_overkill": 0.05}, BAD, "good parts"),
        ({"target_recall": 0.5}, GOOD, "parts with boxes"),
    ],
)
def test_no_part_of_the_kind_gives_no_threshold(options: dict[str, float], images: Any, unit: str) -> None:
    point = find(images, **options)
    assert (point.threshold, point.review, point.nearest, point.estimate, point.limit) == (None,) * 5
    assert f"there are no {unit} among the {len(images)} parts" in describe(point)[0]


def test_out_of_reach_says_the_nearest_and_how_many_more() -> None:
    point = find(GOOD + BAD, max_escape=0.001)
    assert point.threshold is None
    assert point.nearest == just_above(0.001)
    assert (point.units, point.needed) == (93, 2995)
    text = describe(point)[0]
    assert "--max-escape 0.001 is out of reach at a confidence of 0.95" in text
    assert "it would take 2,995 defective parts that go alike, 2,902 more" in text


def test_below_the_scores_that_were_looked_for_there_is_no_threshold() -> None:
    images = [*BAD[:50], *((f"blind{i}.png", ["scratch"], {}) for i in range(43))]
    point = find(images, max_escape=0.05)
    assert point.threshold is None
    assert point.needed is None
    assert "nothing was looked for at scores of 0.001 and less" in describe(point)[0]


def test_two_promises_share_the_error() -> None:
    """At 97.5 % each, 72 parts without a failure show 5 %, and no fewer do."""
    images = [(f"{i}.png", ["scratch"], {"scratch": 0.5 + i / 1000}) for i in range(72)]
    assert find(images, max_escape=0.05, max_review=0.2).review == 0.5
    assert find(images[1:], max_escape=0.05, max_review=0.2).threshold is None
    assert find(images[1:], max_escape=0.05).threshold == 0.501


def test_a_review_between_escape_and_overkill() -> None:
    """The review begins where the escape allows, and ends as far above as its share of the parts allows."""
    point = find(GOOD + BAD, max_escape=0.05, max_review=0.2)
    assert point.review == 0.1  # at 97.5 % no part of 93 may pass
    assert point.threshold is not None
    assert point.threshold > point.review
    scores = np.array([*(0.05 + np.arange(100) / 1000), *(0.1 + np.arange(93) / 1000)])
    share = ((scores >= point.review) & (scores < point.threshold)).mean()
    assert point.max_review is not None
    assert point.max_review["estimate"] == pytest.approx(share, abs=0.006)
    assert share < point.max_review["limit"] <= 0.2
    assert point.cost is not None
    assert point.cost["value"] == pytest.approx(np.mean([0.05 + i / 1000 >= point.threshold for i in range(100)]))


def test_a_review_rises_no_further_than_the_last_good_part() -> None:
    point = find(GOOD + BAD, max_escape=0.05, max_review=0.9)
    assert (point.review, point.threshold) == (0.1, just_above(0.149))
    point = find(GOOD + BAD, max_overkill=0.06, max_review=0.9)
    assert (point.review, point.threshold) == (0.1, just_above(0.148))


def test_no_review_where_the_parts_are_too_few_to_bound_it() -> None:
    point = find(GOOD + BAD, max_escape=0.05, max_review=0.01)
    assert point.review == point.threshold == 0.1
    assert point.max_review == {"value": 0.01, "estimate": 0.0, "limit": 0.0}


def test_each_class_meets_the_target_by_itself() -> None:
    scratched = [(f"s{i}.png", ["scratch"], {"scratch": 0.5 + i / 1000}) for i in range(72)]
    pitted = [(f"p{i}.png", ["pit"], {"pit": 0.3 + i / 1000}) for i in range(72)]
    point = find(scratched + pitted, max_escape=0.05, per_class=True)
    assert point.per_class == {"scratch": 0.5, "pit": 0.3}
    assert point.threshold == 0.3
    assert [point.by_class[name].units for name in ("scratch", "pit")] == [72, 72]
    fewer = find(scratched + pitted[1:], max_escape=0.05, per_class=True)
    assert (fewer.threshold, fewer.per_class) == (None, {})
    assert fewer.by_class["scratch"].threshold == 0.5
    assert (fewer.by_class["pit"].threshold, fewer.by_class["pit"].needed) == (None, 72)


def test_a_class_without_a_label_gets_no_threshold() -> None:
    point = find(BAD, max_escape=0.1, per_class=True)
    assert (point.threshold, point.per_class) == (None, {})
    assert any("pit: no defective parts in the split" in line for line in describe(point))
    options = TargetOptions(max_escape=0.1, per_class=True)
    only = find_operating_point(*validation(BAD), options, settings(only=[0]))
    assert list(only.per_class) == list(only.by_class) == ["scratch"]  # nobody looked for a pit


def test_the_cost_of_thresholds_by_class() -> None:
    bad = [
        (f"{kind}{i}.png", [kind], {kind: low + i / 1000})
        for kind, low in (("scratch", 0.5), ("pit", 0.3))
        for i in range(72)
    ]
    good = [(f"g{i}.png", [], {"scratch": 0.4} if i % 2 else {"pit": 0.4}) for i in range(10)]
    point = find(bad + good, max_escape=0.05, per_class=True)
    assert point.cost is not None
    assert point.cost["value"] == 0.5  # scratches of 0.4 pass


def test_the_file_holds_all(tmp_path: Path) -> None:
    point = find(GOOD + BAD, max_escape=0.05, max_review=0.2)
    point.write(tmp_path / "operating_point.json")
    content = json.loads((tmp_path / "operating_point.json").read_text())
    assert {
        *("threshold", "review", "per_class", "target", "confidence", "estimate", "limit", "temperature", "parts"),
        *("defective_parts", "chosen_on_same_split", "weights", "split", "classes", "imgsz", "window", "iou"),
        *("max_det", "intensity"),
    } <= set(content)
    assert content["target"] == {"name": "max_escape", "value": 0.05}
    assert read_operating_point(tmp_path / "operating_point.json") == point


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"threshold": 0.5}', "\x00"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "point.json").write_text(text)
    with pytest.raises(UserError, match=r"point\.json: is no operating point"):
        read_operating_point(tmp_path / "point.json")


def test_a_file_that_is_not_there_or_holds_no_threshold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        read_operating_point(tmp_path / "point.json")
    find(GOOD, max_escape=0.05).write(tmp_path / "point.json")
    assert read_operating_point(tmp_path / "point.json").threshold is None
    with pytest.raises(UserError, match=r"holds no threshold, since max_escape 0\.05 was out of reach"):
        read_thresholds(tmp_path / "point.json")


@pytest.mark.parametrize("changed", [{"threshold": 7.0}, {"threshold": "x"}, {"per_class": {"dent": 0.5}}])
def test_thresholds_that_are_none_are_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    replace(find(GOOD + BAD, max_escape=0.05), **changed).write(tmp_path / "point.json")
    with pytest.raises(UserError, match="is no operating point"):
        read_operating_point(tmp_path / "point.json")


@pytest.mark.parametrize(
    ("same", "words"),
    [(True, "the model was chosen by these same images"), (None, "do not say which images"), (False, None)],
)
def test_it_is_said_where_the_model_was_chosen_by_the_same_images(same: bool | None, words: str | None) -> None:
    options = TargetOptions(max_escape=0.05)
    point = find_operating_point(*validation(GOOD + BAD), options, settings(chosen_on_same_split=same))
    assert point.settings.chosen_on_same_split is same
    assert any("chosen by" in line for line in describe(point)) == (words is not None)
    assert words is None or any(words in line for line in describe(point))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_escape": 0.1, "max_overkill": 0.1}, "--max-escape and --max-overkill: a threshold has one target"),
        ({"max_escape": 0}, "--max-escape 0: must be a share above 0 and below 1"),
        ({"target_recall": 1}, "--target-recall 1: must be a share above 0 and below 1"),
        ({"max_overkill": float("nan")}, "--max-overkill nan: must be a share"),
        ({"max_false_alarms_per_image": 0}, "--max-false-alarms-per-image 0: must be a number above 0"),
        ({"max_escape": 0.1, "confidence": 95}, "--confidence 95: must be a share above 0 and below 1"),
        ({"max_review": 0.1}, "--max-review needs a target"),
        ({"per_class": True}, "--per-class needs a target"),
        ({"max_escape": 0.1, "per_class": True, "max_review": 0.1}, "--per-class and --max-review"),
    ],
)
def test_targets_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        TargetOptions(**options)
    assert message in str(caught.value)
