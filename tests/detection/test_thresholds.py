"""The least score of a detection, as users write it."""

from __future__ import annotations

from typing import Any

import pytest

from moat_det.detection.thresholds import CONF, Thresholds
from moat_det.errors import UserError

NAMES = {0: "square", 1: "disc", 2: "a=b"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"disc": 0.9}, (CONF, 0.9, CONF)),
        ({1: 0.9}, (CONF, 0.9, CONF)),
        (["0.3", "disc=0.9"], (0.3, 0.9, 0.3)),
        (["disc=0.9", "0.3", "2=0.1"], (0.3, 0.9, 0.1)),
        (["0.3,disc=0.9"], (0.3, 0.9, 0.3)),
        ("disc=0.9", (CONF, 0.9, CONF)),
        (["a=b=0.4"], (CONF, CONF, 0.4)),
        ([0.3, {"disc": 0.9}], (0.3, 0.9, 0.3)),
        (["0.1", "0.2", "0.3"], (0.1, 0.2, 0.3)),
    ],
)
def test_scores_of_classes(value: Any, expected: tuple[float, ...]) -> None:
    thresholds = Thresholds.read(value)
    assert thresholds.single is None
    assert thresholds.of_classes(NAMES) == expected


@pytest.mark.parametrize(("value", "expected"), [(None, CONF), (0.4, 0.4), (1, 1.0), (["0.4"], 0.4), ("0", 0.0)])
def test_one_score(value: Any, expected: float) -> None:
    assert Thresholds.read(value).single == expected


@pytest.mark.parametrize(
    "value", [2, -0.1, float("nan"), "x", "disc=", "=", ["0.3", "disc=2"], {"disc": None}, True, ["0.3", ""], object()]
)
def test_what_is_no_score(value: Any) -> None:
    with pytest.raises(UserError, match=r"--conf .*: give a score from 0 to 1"):
        Thresholds.read(value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["wheel=0.3"], "--conf wheel=0.3: the model has no class wheel; its classes are square, disc, a=b"),
        (["0.3", "0.4"], "--conf: 2 scores for the 3 classes square, disc, a=b"),
    ],
)
def test_classes_that_the_model_does_not_have(value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Thresholds.read(value).of_classes(NAMES)
