"""Verdicts on parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from helpers.inspected import settings
from moat_det.errors import UserError
from moat_det.evaluation.inspection.operating_point import OperatingPoint
from moat_det.evaluation.inspection.targets import Target
from moat_det.evaluation.inspection.verdicts import Verdicts

POINT = OperatingPoint(
    threshold=0.5,
    review=None,
    per_class={},
    target=Target("max_escape", 0.1),
    confidence=0.95,
    estimate=0.0,
    limit=0.1,
    nearest=None,
    unit="defective parts",
    units=29,
    needed=None,
    max_review=None,
    cost=None,
    temperature=1.0,
    bias=0.0,
    parts=100,
    defective_parts=29,
    group=None,
    settings=settings(),
)


def verdicts(point: OperatingPoint, *images: tuple[str, dict[str, float]]) -> dict[str, str]:
    found = Verdicts(point)
    for name, scores in images:
        found.add(name, scores.values(), scores)
    return {part.part: part.verdict for part in found.parts()}


def changed(**fields: Any) -> OperatingPoint:
    return replace(POINT, **fields)


def test_from_the_threshold_on_a_part_is_rejected() -> None:
    images = [("a.png", {"pit": 0.5}), ("b.png", {"pit": 0.4999, "scratch": 0.1}), ("c.png", {})]
    assert verdicts(POINT, *images) == {"a.png": "reject", "b.png": "pass", "c.png": "pass"}


def test_from_the_review_on_a_person_looks() -> None:
    images = [
        ("a.png", {"pit": 0.3, "scratch": 0.2}),
        ("b.png", {"pit": 0.29}),
        ("c.png", {"pit": 0.4, "scratch": 0.6}),
    ]
    assert verdicts(changed(review=0.3), *images) == {"a.png": "review", "b.png": "pass", "c.png": "reject"}


def test_each_class_has_its_own_threshold() -> None:
    point = changed(threshold=0.2, per_class={"pit": 0.2, "scratch": 0.6})
    images = [("a.png", {"pit": 0.3}), ("b.png", {"scratch": 0.5}), ("c.png", {"scratch": 0.6})]
    assert verdicts(point, *images) == {"a.png": "reject", "b.png": "pass", "c.png": "reject"}


def test_a_part_that_is_held_does_not_pass_and_is_no_better_for_it() -> None:
    found = Verdicts(POINT)
    for name, score in (("a.png", 0.1), ("b.png", 0.9), ("c.png", 0.1)):
        found.add(name, [score], ["pit"])
    found.hold("a.png")
    found.hold("b.png")
    assert [part.verdict for part in found.parts()] == ["review", "reject", "pass"]


def test_a_part_is_as_bad_as_its_worst_image() -> None:
    point = changed(group=r"^(board\d+)_")
    images = [("x/board1_a.png", {"pit": 0.9}), ("x/board2_a.png", {}), ("x/board1_b.png", {}), ("x/board2_b.png", {})]
    found = Verdicts(point)
    for name, scores in images:
        found.add(name, scores.values(), scores)
    first, second = found.parts()
    assert (first.part, first.verdict, first.score, first.images) == ("board1", "reject", 0.9, 2)
    assert (second.part, second.verdict, second.score, second.images) == ("board2", "pass", 0.0, 2)
    with pytest.raises(UserError, match="does not match"):
        found.add("other.png", [], [])


def test_an_image_that_could_not_be_read_lets_no_part_pass() -> None:
    found = Verdicts(changed(group="^(.)"))
    found.add("a1.png", [0.9], ["pit"])
    for name in ("a2.png", "b1.png"):
        found.add_unreadable(name)
    found.add("b2.png", [], [])
    assert [(part.part, part.verdict, part.unreadable) for part in found.parts()] == [
        ("a", "reject", 1),
        ("b", "review", 1),
    ]


def test_a_part_passes_when_all_its_images_were_seen() -> None:
    found = Verdicts(changed(group="^(.)"))
    found.expect(["a1.png", "a2.png", "b1.png", "c1.png"])
    found.add("a1.png", [], [])
    found.add("b1.png", [], [])
    assert {part.part: part.verdict for part in found.parts()} == {"a": "review", "b": "pass"}
    found.add("a2.png", [], [])
    assert found.of("a").verdict == "pass"
    with pytest.raises(UserError, match="does not match"):
        Verdicts(changed(group="^a")).expect(["a1.png", "other.png"])


def test_an_image_that_is_named_twice_is_waited_for_once() -> None:
    found = Verdicts(changed(group="^(.)"))
    found.expect(["a1.png", "a1.png"])
    for _ in range(2):
        found.add("a1.png", [], [])
    assert found.of("a").verdict == "pass"


def test_a_part_with_a_video_passes_when_it_has_ended() -> None:
    found = Verdicts(changed(group="^(.)"))
    found.expect(["a1.png", "a2.mp4"])
    found.add("a1.png", [], [])
    for _ in range(3):
        found.add("a2.mp4", [], [], whole=False)
        assert found.of("a").verdict == "review"
    found.end("a2.mp4")
    assert found.of("a").verdict == "pass"


def test_each_frame_of_a_video_is_a_part() -> None:
    images = [("v.mp4", {}), ("v.mp4", {"pit": 0.9}), ("v.mp4", {})]
    assert verdicts(POINT, *images) == {"v.mp4": "pass", "v.mp4 #2": "reject", "v.mp4 #3": "pass"}


def test_the_temperature_moves_what_is_shown_and_no_verdict() -> None:
    found = Verdicts(changed(temperature=2.0))
    found.add("a.png", [0.9], ["pit"])
    (part,) = found.parts()
    assert (part.verdict, part.score) == ("reject", 0.9)
    assert part.probability == pytest.approx(0.75)  # the odds of 9 become 3
