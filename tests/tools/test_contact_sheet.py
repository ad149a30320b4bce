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


def test_a_sheet_that_is_too_long_for_a_jpeg_is_a_png(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), np.full((4, 4, 3), 50, np.uint8))
    done = run(*[tmp_path / "0.png"] * 9400, "--out", tmp_path / "s.jpg", "--columns", 1, "--side", 1)
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "s.png")), done.stderr
    assert cv2.imread(str(tmp_path / "s.png")).shape == (65794, 1, 3)


def test_a_picture_that_cannot_be_read(tmp_path: Path) -> None:
    done = run(tmp_path / "absent.png", "--out", tmp_path / "s.png")
    assert done.returncode == 2
    assert "absent.png" in done.stderr
    assert not (tmp_path / "s.png").exists()
