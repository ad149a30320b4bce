"""Tiles, and what lies in each of the boxes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from moat_det.data.formats.labelled_image import LabelledImage
from tools.cut_tiles import boxes_within, main

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


def test_tiles_of_images_of_one_name_stay_apart(tmp_path: Path) -> None:
    for number, name in enumerate(("a/x.png", "b/x.png", "b/x.jpg")):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "set" / name), np.full((40, 60, 3), 50 * (number + 1), np.uint8))
    (tmp_path / "set.yaml").write_text("train: set\nval: set\nnames: [pit]\n")
    words = ["--data", str(tmp_path / "set.yaml"), "--out", str(tmp_path / "tiles"), "--side", "40"]
    assert main([*words, "--splits", "val"]) == 0
    tiles = sorted((tmp_path / "tiles/images/val").rglob("*.png"))
    assert len(tiles) == 6
    shades = sorted(int(cv2.imread(str(tile)).mean().round()) for tile in tiles)
    assert shades == pytest.approx([50, 50, 100, 100, 150, 150], abs=2)


def test_a_tile_without_a_box_is_good() -> None:
    assert len(boxes_within(IMAGE, 100, 100, 100, 100).boxes) == 0
