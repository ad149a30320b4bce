from __future__ import annotations

import numpy as np
import pytest

from tools import compare_coco
from tools.compare_coco import CASES, measure


@pytest.fixture(scope="module")
def numbers() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {name: measure(case, seed=1) for name, case in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_each_number_is_that_of_pycocotools(numbers: dict[str, tuple[np.ndarray, np.ndarray]], name: str) -> None:
    ours, theirs = numbers[name]
    np.testing.assert_array_equal(ours, theirs)


def test_the_cases_differ_from_each_other(numbers: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    assert len({tuple(ours) for ours, _ in numbers.values()}) == len(CASES)


def test_the_table_has_two_rows_a_case(
    numbers: dict[str, tuple[np.ndarray, np.ndarray]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = iter(numbers.values())
    monkeypatch.setattr(compare_coco, "measure", lambda case, seed: next(found))
    assert compare_coco.main([]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2 + 2 * len(CASES)


def test_a_difference_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(compare_coco, "measure", lambda case, seed: (np.zeros(12), np.full(12, 1e-9)))
    assert compare_coco.main([]) == 1
    assert "1e-09" in capsys.readouterr().out
