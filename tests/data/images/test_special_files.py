"""Pipes and devices among the files: nothing waits for them, and each is said."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from moat_det.data.formats.yolo import YoloSource
from moat_det.data.formats.yolo_files import find_label
from moat_det.data.images.header import count_pictures, read_header
from moat_det.data.images.intensity import Intensity
from moat_det.data.images.read import open_array, read_image
from moat_det.engine.sources.files import ImageFiles
from moat_det.text import read_text, read_utf8, read_xml_text

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes have names here")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
@pytest.mark.parametrize(
    ("read", "suffix"),
    [
        (read_header, ".png"),
        (read_image, ".png"),
        (open_array, ".npy"),
        (read_image, ".npy"),
        (read_text, ".yaml"),
        (read_utf8, ".txt"),
        (read_xml_text, ".xml"),
    ],
)
def test_what_never_ends_is_not_read(
    tmp_path: Path, read: Callable[[Path], object], suffix: str, make: Callable[[Path], None]
) -> None:
    file = tmp_path / f"a{suffix}"
    make(file)
    with pytest.raises(OSError, match="a pipe or a device"):
        read(file)


def test_a_pipe_has_one_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    assert count_pictures(tmp_path / "a.png") == 1


def test_a_video_that_is_a_pipe_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    loader = ImageFiles(str(tmp_path), Intensity(), 3, 1, 1)
    assert list(loader) == []
    assert "a.mp4: it cannot be opened as a video" in caplog.text


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("gone.txt")], ids=["pipe", "lost link"])
def test_labels_that_cannot_be_read_are_a_fault_and_no_good_part(tmp_path: Path, make: Callable[[Path], None]) -> None:
    image = tmp_path / "images" / "a.png"
    (tmp_path / "labels").mkdir()
    label = tmp_path / "labels" / "a.txt"
    make(label)
    assert find_label(str(image)) == str(label)
    faults: list[object] = []
    (record,) = YoloSource([str(image)], 1).records(faults.append)
    assert record.read().lost == 1
    assert "cannot be read" in str(faults)
