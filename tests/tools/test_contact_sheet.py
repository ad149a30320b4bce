from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.contact_sheet", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_pictures_stand_in_reading_order_and_keep_their_shape(tmp_path: Path) -> None:
    for index, shade in enumerate((50, 100, 150)):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((20, 40, 3), shade, np.uint8))
    done = run(*(tmp_path / f"{i}.png" for i in range(3)), "--out", tmp_path / "s.png", "--columns", 2, "--side", 80)
    assert done.returncode == 0, done.stderr
    sheet = cv2.imread(str(tmp_path / "s.png"))
    assert sheet.shape == (166, 166, 3)
    assert [sheet[40, 40, 0], sheet[40, 126, 0], sheet[126, 40, 0]] == [50, 100, 150]
    assert sheet[126, 126, 0] == sheet[5, 40, 0] == 255


def test_a_picture_that_cannot_be_read(tmp_path: Path) -> None:
    done = run(tmp_path / "absent.png", "--out", tmp_path / "s.png")
    assert done.returncode == 2
    assert "absent.png" in done.stderr
    assert not (tmp_path / "s.png").exists()
