"""Validations side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.browser import open_page
from helpers.inspected import validation
from moat_det.cli.main import run
from moat_det.errors import UserError
from moat_det.evaluation.compare import HIGHER_IS_BETTER, compare
from moat_det.evaluation.inspection.figures import auroc
from moat_det.evaluation.inspection.parts import read_parts
from moat_det.evaluation.validation_folder import read_validation


def save(folder: Path, bad: Callable[[int], float], good: Callable[[int], float], parts: int = 80) -> Path:
    """A validation of parts, every second defective, with a detection in each of the scores that are given."""
    images: list[tuple[str, list[str], dict[str, float]]] = [
        (f"{number}.png", ["scratch"] if number % 2 else [], {"scratch": (bad if number % 2 else good)(number)})
        for number in range(parts)
    ]
    truth, found = validation(images)
    folder.mkdir()
    (folder / "ground_truth.json").write_text(json.dumps(truth))
    (folder / "predictions.json").write_text(json.dumps(found))
    return folder


def differences(*folders: Path, **given: Any) -> dict[str, Any]:
    return compare([read_validation(folder) for folder in folders], resamples=300, **given).runs[1].differences


def test_a_run_that_misses_half_is_worse(tmp_path: Path) -> None:
    first = save(tmp_path / "a", lambda _: 0.9, lambda _: 0.1)
    second = save(tmp_path / "b", lambda number: 0.9 if number % 4 == 1 else 0.2, lambda _: 0.1)
    found = differences(first, second)
    assert found["escape"].value == 0.5
    assert (found["escape"].verdict, found["recall"].verdict) == ("worse", "worse")
    assert found["escape"].low == pytest.approx(0.5 - 1.96 * (0.25 / 40) ** 0.5, abs=0.05)
    assert differences(second, first)["escape"].verdict == "better"


def test_what_agrees_on_every_part_is_not_told_apart_and_has_an_interval(tmp_path: Path) -> None:
    first = save(tmp_path / "a", lambda _: 0.9, lambda _: 0.1)
    second = save(tmp_path / "b", lambda _: 0.8, lambda _: 0.1)
    escape = differences(first, second)["escape"]
    assert (escape.value, escape.verdict) == (0, "not told apart")
    assert escape.high == pytest.approx(1 - 0.025 ** (1 / 40))  # Clopper-Pearson: none of 40
    assert escape.low == -escape.high


def first_parts(folder: Path, parts: int, missed: int, alarms: int = 0) -> Path:
    """A validation in which so many of the defective parts are missed, and so many of the good ones rejected."""
    return save(folder, lambda n: 0.1 if n < 2 * missed else 0.9, lambda n: 0.9 if n < 2 * alarms else 0.1, parts)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_few_parts_tell_nothing_apart(tmp_path: Path, count: int) -> None:
    """The exact test of McNemar: p is 1, 1/2, 1/4 and 1/16."""
    every = first_parts(tmp_path / "a", 2 * count, missed=count, alarms=count)
    none = first_parts(tmp_path / "b", 2 * count, missed=0)
    for found in (differences(every, none), differences(none, every)):
        for name in ("escape", "overkill", "recall", "AUROC"):
            assert found[name].value, name
            assert found[name].verdict == "not told apart", name
        assert found["escape"].high > 0 > found["escape"].low


def test_parts_in_which_two_runs_differ_decide_by_the_exact_test(tmp_path: Path) -> None:
    none = first_parts(tmp_path / "none", 200, missed=0)
    verdicts = [differences(none, first_parts(tmp_path / str(n), 200, n))["escape"].verdict for n in (4, 5, 6, 7)]
    assert verdicts == ["not told apart", "not told apart", "worse", "worse"]  # p is 1/8, 1/16, 1/32 and 1/64
    small = differences(first_parts(tmp_path / "a", 12, missed=6), first_parts(tmp_path / "b", 12, missed=0))
    assert small["escape"].verdict == "better"  # 6 of 6
    assert (small["escape"].low, small["escape"].high) == pytest.approx((-1, 1 - 2 * 0.025 ** (1 / 6)))


def test_pairs_tell_apart_what_parts_alone_would_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(400) < 0.5  # parts that both miss
    first = save(tmp_path / "a", lambda number: 0.1 if hard[number] else 0.9, lambda _: 0.1, 400)
    second = save(tmp_path / "b", lambda n: 0.1 if hard[n] or n % 20 == 1 else 0.9, lambda _: 0.1, 400)
    found = differences(first, second)["escape"]
    assert found.verdict == "worse"
    assert found.high - found.low < 0.12  # of two sets apart it would be 0.2


def test_auroc_of_the_parts_as_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    scores = rng.random(80).round(1) + 0.001
    first = save(tmp_path / "a", lambda _: 0.9, lambda _: 0.1)
    second = save(tmp_path / "b", lambda number: scores[number], lambda number: scores[number])
    figures = compare([read_validation(first), read_validation(second)], resamples=2).runs[1].figures
    again = read_validation(second)
    expected = auroc(read_parts(again.ground_truth, again.predictions))
    assert expected is not None
    assert figures["AUROC"] == pytest.approx(expected.value)


def test_each_run_is_judged_by_its_own_thresholds(tmp_path: Path) -> None:
    first = save(tmp_path / "a", lambda _: 0.4, lambda _: 0.1)
    second = save(tmp_path / "b", lambda _: 0.4, lambda _: 0.3)
    (first / "inspection.json").write_text(json.dumps({"threshold": 0.5, "review": None, "per_class": {}}))
    (second / "inspection.json").write_text(json.dumps({"threshold": 0.5, "review": 0.35, "per_class": {}}))
    runs = compare([read_validation(first), read_validation(second)], resamples=2).runs
    assert [run.figures["escape"] for run in runs] == [1, 0]  # all are looked at
    (second / "inspection.json").write_text(json.dumps({"threshold": 0.2, "per_class": {"scratch": 0.2}}))
    runs = compare([read_validation(first), read_validation(second)], resamples=2).runs
    assert [(run.figures["escape"], run.figures["overkill"]) for run in runs] == [(1, 0), (0, 1)]
    runs = compare([read_validation(first), read_validation(second)], threshold=0.6, resamples=2).runs
    assert [run.figures["escape"] for run in runs] == [1, 1]


def test_other_labels_are_refused(tmp_path: Path) -> None:
    first = save(tmp_path / "a", lambda _: 0.9, lambda _: 0.1)
    other = save(tmp_path / "b", lambda _: 0.9, lambda _: 0.1, parts=60)
    with pytest.raises(UserError, match="images in common"):
        differences(first, other)
    truth = json.loads((first / "ground_truth.json").read_text())
    for image in truth["images"]:
        image["file_name"] = f"new/{image['file_name']}"
    (other / "ground_truth.json").write_text(json.dumps(truth))
    with pytest.raises(UserError, match=r"b: has other images than .*a; validate both"):
        compare([read_validation(folder) for folder in (first, first, other)], resamples=2)
    with pytest.raises(UserError, match="other images"):
        differences(first, other)


def test_the_command_writes_table_json_and_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = save(tmp_path / "a", lambda _: 0.9, lambda _: 0.1)
    second = save(tmp_path / "b", lambda number: 0.9 if number % 4 == 1 else 0.2, lambda _: 0.1)
    assert run("compare", [str(first), str(second), "--out", str(tmp_path / "out")]) == 0
    assert "worse" in capsys.readouterr().out
    content = json.loads((tmp_path / "out/compare.json").read_text())
    assert set(content["runs"][1]["differences"]) == set(HIGHER_IS_BETTER)
    opened = open_page(tmp_path / "out/compare.html", tmp_path / "profile")
    assert not opened.console
    assert "graphics-document" in opened.text


@pytest.mark.parametrize("words", [["a"], ["a", "b", "--threshold", "2"], ["a", "nowhere"]])
def test_a_mistake_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        save(tmp_path / name, lambda _: 0.9, lambda _: 0.1, parts=4)
    assert run("compare", words) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
