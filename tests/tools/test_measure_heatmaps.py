"""What heat maps are measured on, and that each figure is there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.demo import generate_demo
from moat_det.engine import MOAT
from tools import measure_heatmaps


def test_the_truth_is_the_pixels_that_a_box_touches() -> None:
    image = LabelledImage("a.png", 6, 8, np.array([0, 1]), np.array([[1.0, 2, 3, 4], [6.5, 0.2, 8, 1]]))
    mask = measure_heatmaps.mask_of(image)
    assert np.argwhere(mask).tolist() == [[0, 6], [0, 7], [2, 1], [2, 2], [3, 1], [3, 2]]


def test_good_and_bad_parts_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = generate_demo(tmp_path / "demo", train=48, val=12, size=(64, 64))
    (tmp_path / "small.yaml").write_text("backbone: {name: tiny_moat0}\nneck: {channels: [16, 16, 16]}\n")
    MOAT(tmp_path / "small.yaml").save(tmp_path / "new.pt")
    words = [
        "--data",
        str(data),
        "--weights",
        str(tmp_path / "new.pt"),
        "--imgsz",
        "64",
        "--out",
        str(tmp_path / "out"),
    ]
    assert measure_heatmaps.main([*words, "--parts", "10"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["good_parts"], found["good"], found["bad"]) == (10, 3, 9)
    for name in ("image_auroc", "pixel_auroc", "unlike_of_good", "unlike_of_bad", "image_auroc_of_the_detector"):
        assert 0 <= found[name] <= 1
    (data.parent / "labels" / "val" / "000003.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    for number in (7, 11):
        (data.parent / "labels" / "val" / f"{number:06}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    assert measure_heatmaps.main(words) == 2
    assert "needs images without objects" in capsys.readouterr().err
