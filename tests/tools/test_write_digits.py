"""Digits as folders."""

from __future__ import annotations

import gzip
from pathlib import Path

import cv2
import numpy as np
import pytest

from tools.write_digits import main


def test_a_table_of_digits_becomes_a_tree(tmp_path: Path) -> None:
    rows = np.zeros((20, 785), int)
    rows[:, -1] = np.arange(20) % 2
    rows[:, 30] = np.arange(20)
    with gzip.open(tmp_path / "digits.csv.gz", "wt") as file:
        np.savetxt(file, rows, fmt="%d", delimiter=",")
    assert main(["--source", str(tmp_path / "digits.csv.gz"), "--out", str(tmp_path / "out"), "--share", "0.25"]) == 0
    counts = [len(list((tmp_path / "out" / split).glob("*/*.png"))) for split in ("train", "val")]
    assert counts == [15, 5]
    (place,) = (tmp_path / "out").glob("*/1/00007.png")
    image = cv2.imread(str(place), cv2.IMREAD_UNCHANGED)
    assert (image.shape, image[1, 2], image.sum()) == ((28, 28), 7, 7)


def test_mistakes_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--source", "sklearn", "--out", str(tmp_path / "out"), "--share", "2"]) == 2
    assert main(["--source", str(tmp_path / "absent.gz"), "--out", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()
    assert "--share 2.0: must be between 0 and 1" in capsys.readouterr().err
