"""The simulation of the promise: that it holds where it should, and that a promise that is broken shows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.inspected import validation
from moat_det.evaluation.inspection.evidence import Evidence, read_evidence
from moat_det.evaluation.inspection.targets import TargetOptions
from tools import simulate_promise
from tools.simulate_promise import simulate


def population() -> Evidence:
    """400 parts, half of them defective, whose scores overlap."""
    draw = np.random.default_rng(0)
    bad = [(f"b{i}.png", ["scratch"], {"scratch": score}) for i, score in enumerate(draw.beta(4, 2, 200).tolist())]
    good = [(f"g{i}.png", [], {"pit": score}) for i, score in enumerate(draw.beta(2, 4, 200).tolist())]
    return read_evidence(*validation([*bad, *good]))


@pytest.mark.parametrize(
    "options",
    [
        TargetOptions(max_escape=0.15),
        TargetOptions(max_overkill=0.15),
        TargetOptions(max_escape=0.2, max_review=0.4),
    ],
)
def test_the_promise_holds(options: TargetOptions) -> None:
    """Of 150 samples 5 % may break it; 14 and more would come once in a hundred times."""
    outcome = simulate(population(), options, samples=150, size=80, seed=0, lowest=0.001)
    assert outcome.promised > 100
    assert outcome.kept >= 150 - 13


def test_a_broken_promise_shows() -> None:
    """A confidence of a half keeps about half of the promises."""
    outcome = simulate(population(), TargetOptions(max_escape=0.15, confidence=0.5), 150, 80, seed=0, lowest=0.001)
    assert 50 < outcome.kept < 125
    assert 0.05 < outcome.truth < 0.15 <= outcome.best + 0.01


def test_drawn_parts_bring_their_boxes_and_alarms() -> None:
    truth, found = validation(
        [
            ("a.png", ["scratch"], {"scratch": 0.9, "pit!": 0.3}),
            ("b.png", ["pit", "scratch"], {"pit": 0.8}),
            ("c.png", [], {"pit": 0.7}),
        ]
    )
    whole = read_evidence(truth, found)
    drawn = whole.drawn(np.array([1, 1, 2]))
    assert drawn.scores.tolist() == [0.8, 0.8, 0.7]
    assert drawn.defective.tolist() == [True, True, False]
    assert sorted(zip(drawn.box_parts.tolist(), drawn.found_at.tolist(), strict=True)) == [
        (0, -1),
        (0, 0.8),
        (1, -1),
        (1, 0.8),
    ]
    assert list(zip(drawn.alarm_parts.tolist(), drawn.alarms.tolist(), strict=True)) == [(2, 0.7)]
    again = whole.drawn(np.arange(3))
    assert replace(again).scores.tolist() == whole.scores.tolist()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [(f"{i}.png", ["scratch"], {"scratch": 0.5 + i / 100}) for i in range(20)]
    for name, content in zip(("ground_truth", "predictions"), validation(images), strict=True):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    words = ["--run", str(tmp_path), "--samples", "3", "--size", "30"]
    assert simulate_promise.main([*words, "--target", "max_escape=0.6", "max_overkill=0.1"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].startswith("20 parts, 20 defective, 20 boxes; 3 samples of 30 parts")
    assert rows[3].startswith("| max_escape=0.6 | 100.0% | 100.0% |")
    assert rows[4].startswith("| max_overkill=0.1 | 100.0% | 0.0% | - |")
    assert simulate_promise.main([*words, "--target", "precision=0.2"]) == 2
    assert "--target precision=0.2: write it like max_escape=0.1" in capsys.readouterr().err
