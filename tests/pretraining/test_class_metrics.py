"""The figures of a classifier, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from moat_det.pretraining.classification.metrics import measure

SCORES = np.array([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.4, 0.4, 0.2], [0.2, 0.2, 0.6]])


def test_figures_by_hand() -> None:
    found = measure(SCORES, np.array([0, 2, 1, 2]))
    assert (found.images, found.top1, found.top5) == (4, 0.5, 1.0)  # of equal scores the smaller class comes first
    assert found.confusion.tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 1]]
    classes = found.per_class(["a", "b", "c"])
    assert classes["a"] == {"images": 1, "recall": 1.0, "precision": 0.5}
    assert classes["b"] == {"images": 1, "recall": 0.0, "precision": 0.0}
    assert classes["c"] == {"images": 2, "recall": 0.5, "precision": 1.0}


def test_what_has_no_whole_has_no_share() -> None:
    classes = measure(SCORES[:1], np.array([0])).per_class(["a", "b", "c"])
    assert classes["b"] == {"images": 0, "recall": None, "precision": None}


def test_top_5_of_many_classes() -> None:
    scores = np.tile(np.arange(8.0), (8, 1))
    assert measure(scores, np.arange(8)).top5 == pytest.approx(5 / 8)


def test_scores_that_are_no_numbers_are_wrong() -> None:
    scores = np.array([[0.5, 0.3, 0.2], [np.nan] * 3, [0.1, np.nan, 0.2]])
    found = measure(scores, np.array([0, 0, 2]))
    assert (found.images, found.unscored) == (3, 2)
    assert (found.top1, found.top5) == (1 / 3, 1 / 3)
    assert found.confusion.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert found.per_class(["a", "b", "c"])["a"] == {"images": 2, "recall": 0.5, "precision": 1.0}
