from __future__ import annotations

from typing import Any

import pytest

from moat_det.errors import UserError
from moat_det.evaluation.inspection.parts import read_parts

TRUTH: dict[str, Any] = {
    "images": [
        {"id": 7, "file_name": "board1_top.png"},
        {"id": 3, "file_name": "board2_top.png"},
        {"id": 5, "file_name": "board1_bottom.png"},
    ],
    "annotations": [
        {"id": 1, "image_id": 5, "category_id": 1, "iscrowd": 0},
        {"id": 2, "image_id": 3, "category_id": 1, "iscrowd": 1},
    ],
    "categories": [{"id": 1, "name": "pit"}, {"id": 2, "name": "dent"}],
}
FOUND = [
    {"image_id": 7, "category_id": 2, "score": 0.9},
    {"image_id": 5, "category_id": 1, "score": 0.4},
    {"image_id": 5, "category_id": 1, "score": 0.6},
    {"image_id": 99, "category_id": 1, "score": 1.0},  # no image of the ground truth
]


def test_each_image_is_a_part() -> None:
    parts = read_parts(TRUTH, FOUND)
    assert parts.names == ("board1_top.png", "board2_top.png", "board1_bottom.png")
    assert parts.scores.tolist() == [0.9, 0.0, 0.6]
    # A region to ignore makes no part defective.
    assert parts.defective.tolist() == [False, False, True]
    assert parts.of_image == {7: 0, 3: 1, 5: 2}
    assert parts.image_counts.tolist() == [1, 1, 1]


def test_a_group_of_images_is_a_part() -> None:
    parts = read_parts(TRUTH, FOUND, group=r"^(board\d+)_")
    assert parts.names == ("board1", "board2")
    assert parts.scores.tolist() == [0.9, 0.0]
    assert parts.defective.tolist() == [True, False]
    assert parts.of_image == {7: 0, 3: 1, 5: 0}
    assert parts.image_counts.tolist() == [2, 1]


@pytest.mark.parametrize("group", [r"^(board1)_|^board2", r"\d*", "^()"])
def test_images_in_which_the_group_finds_nothing_are_not_one_part(group: str) -> None:
    with pytest.raises(UserError, match=r"--group .*: finds nothing in board\d_top.png; every image needs a group"):
        read_parts(TRUTH, [], group=group)


def test_a_class_by_itself() -> None:
    of_pits = read_parts(TRUTH, FOUND, category_id=1)
    of_dents = read_parts(TRUTH, FOUND, category_id=2)
    assert (of_pits.scores.tolist(), of_pits.defective.tolist()) == ([0.0, 0.0, 0.6], [False, False, True])
    assert (of_dents.scores.tolist(), of_dents.defective.tolist()) == ([0.9, 0.0, 0.0], [False, False, False])


def test_images_of_one_name_are_parts_of_their_own() -> None:
    truth = {**TRUTH, "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "a.png"}]}
    assert len(read_parts(truth, [])) == 2


def test_folders_are_no_part_of_the_name_that_is_searched() -> None:
    truth = {**TRUTH, "images": [{"id": 1, "file_name": "day1/board1_a.png"}, {"id": 2, "file_name": "board1_b.png"}]}
    assert read_parts(truth, [], group=r"^(board\d+)_").names == ("board1",)


@pytest.mark.parametrize(("group", "words"), [("(", "no regular expression"), ("^panel", "does not match")])
def test_a_group_that_cannot_be_used(group: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_parts(TRUTH, FOUND, group)
