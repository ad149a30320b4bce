"""Tiles, and what lies in each of the boxes."""

from __future__ import annotations

import numpy as np

from moat_det.data.formats.labelled_image import LabelledImage
from tools.cut_tiles import boxes_within

IMAGE = LabelledImage(
    path="a.png",
    height=200,
    width=300,
    classes=np.array([0, 1, 2]),
    boxes=np.array([[10.0, 10, 30, 30], [90, 20, 120, 40], [250, 150, 260, 160]]),
)


def test_boxes_are_cut_at_the_edges_of_a_tile_and_small_pieces_ignored() -> None:
    left, right = (boxes_within(IMAGE, x, 0, 100, 100) for x in (0, 100))
    assert left.boxes.tolist() == [[10, 10, 30, 30], [90, 20, 100, 40]]
    assert left.ignored.tolist() == [False, True]  # a third of the second one
    assert right.boxes.tolist() == [[0, 20, 20, 40]]
    assert (right.classes.tolist(), right.ignored.tolist()) == ([1], [False])


def test_a_tile_without_a_box_is_good() -> None:
    assert len(boxes_within(IMAGE, 100, 100, 100, 100).boxes) == 0
