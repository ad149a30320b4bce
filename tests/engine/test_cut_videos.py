"""Videos that are damaged or cut off: what is missing is said, and counts as unseen."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from moat_det.data.images.intensity import Intensity
from moat_det.detection.output_names import OutputNames
from moat_det.engine.seen_files import SeenFiles
from moat_det.engine.sources.files import ImageFiles
from moat_det.errors import UserError


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 60 frames."""
    path = tmp_path_factory.mktemp("videos") / "whole.avi"
    rng = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    for _ in range(60):
        writer.write(rng.integers(0, 255, (64, 64, 3), np.uint8))
    writer.release()
    return path


def read(path: Path, batch: int = 8, stride: int = 1) -> tuple[int, list[str]]:
    """How many frames are given, and which files are not whole."""
    source = ImageFiles(str(path), Intensity(), 3, batch, stride)
    return sum(len(images) for _, images, _ in source), source.unseen


@pytest.mark.parametrize(("stride", "frames"), [(1, 60), (7, 8), (60, 1)])
def test_a_whole_video_is_whole(whole: Path, stride: int, frames: int, log: list[str]) -> None:
    assert read(whole, stride=stride) == (frames, [])
    assert not log


def test_one_that_is_shorter_than_the_stride_is_not_damaged(whole: Path, tmp_path: Path, log: list[str]) -> None:
    shutil.copy(whole, tmp_path / "a.avi")
    with pytest.raises(UserError, match="--vid-stride 61: is larger than the number of frames of any video"):
        read(tmp_path, stride=61)
    Image.new("RGB", (64, 64)).save(tmp_path / "part.png")
    log.clear()
    source = ImageFiles(str(tmp_path), Intensity(), 3, 8, 61)
    seen = SeenFiles(source, OutputNames(), None)
    for names, _, _ in source:
        seen.see(names, of_video=source.mode == "video")
    (line,) = log
    assert f"{tmp_path / 'a.avi'}: no frame of it is looked at, since it has fewer than --vid-stride 61" in line
    assert seen.unreadable() == []


@pytest.mark.parametrize("stride", [1, 7])
def test_one_that_is_cut_off(whole: Path, tmp_path: Path, stride: int, log: list[str]) -> None:
    content, cut = whole.read_bytes(), tmp_path / "cut.avi"
    cut.write_bytes(content[: len(content) // 2])
    frames, unseen = read(cut, stride=stride)
    assert frames == 30 // stride
    assert unseen == [str(cut)]
    (line,) = log
    assert f"{cut}: only 30 of 60 frames could be read; " in line


def test_one_that_is_damaged_within(whole: Path, tmp_path: Path, log: list[str]) -> None:
    content, damaged = bytearray(whole.read_bytes()), tmp_path / "damaged.avi"
    start = len(content) // 3
    content[start : start + 6000] = bytes(6000)
    damaged.write_bytes(content)
    frames, unseen = read(damaged)
    assert 30 < frames < 59
    assert unseen == [str(damaged)]
    assert [line for line in log if f"only {frames} of 60 frames" in line]


def test_frames_that_cannot_be_decoded_keep_their_number(
    whole: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    class Capture:
        def __init__(self, path: str) -> None:
            self._real, self._number = real(path), 0

        def __getattr__(self, name: str) -> object:
            return getattr(self._real, name)

        def grab(self) -> bool:
            self._number += 1
            return self._real.grab()

        def retrieve(self) -> tuple[bool, np.ndarray | None]:
            return (False, None) if self._number == 4 else self._real.retrieve()

    real = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    source = ImageFiles(str(whole), Intensity(), 3, 60, 1)
    (_, images, texts), *_ = source
    assert len(images) == 59
    assert [f"(frame {number}/60)" in text for number, text in zip((3, 5), texts[2:4], strict=True)] == [True, True]
    assert source.unseen == [str(whole)]
    assert [line for line in log if "only 59 of 60 frames" in line]


def test_what_follows_a_cut_video_is_read(whole: Path, tmp_path: Path) -> None:
    content = whole.read_bytes()
    (tmp_path / "a.avi").write_bytes(content[: len(content) // 2])
    (tmp_path / "b.avi").write_bytes(content)
    assert read(tmp_path) == (90, [str(tmp_path / "a.avi")])
