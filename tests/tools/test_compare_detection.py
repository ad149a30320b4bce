"""The comparison of what validation and detection find."""

from __future__ import annotations

from typing import Any

import pytest

from tools.compare_detection import average_precision, pair


def row(x: float, score: float, category: int = 1, image: int = 1) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": [x, 0.0, 20.0, 20.0], "score": score}


def test_rows_are_paired_by_place_and_class_in_any_order() -> None:
    one = [row(0, 0.9), row(50, 0.8), row(0, 0.7, category=2)]
    assert pair(one, one[::-1]) == (0, 0.0)
    assert pair(one, [row(0, 0.7, category=2), row(50, 0.75), row(0, 0.9)]) == (0, pytest.approx(0.05))


def test_what_lies_elsewhere_has_no_partner() -> None:
    assert pair([row(0, 0.9)], [row(0.1, 0.9)])[0] == 2  # an IoU of 0.99
    assert pair([row(0, 0.9)], [row(0, 0.9, category=2)])[0] == 2
    assert pair([row(0, 0.9), row(0, 0.5)], [row(0, 0.9)])[0] == 1


def test_average_precision_is_that_of_coco() -> None:
    truth = {
        "images": [{"id": 1, "width": 100, "height": 100}],
        "categories": [{"id": 1, "name": "pit"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 20, 20], "area": 400, "iscrowd": 0}],
    }
    assert average_precision(truth, [row(0, 0.9)]) == pytest.approx(1.0)
    assert average_precision(truth, [row(60, 0.95), row(0, 0.9)]) == pytest.approx(0.5)
