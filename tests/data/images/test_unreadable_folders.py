"""Folders that may not be read: what lies in them is not taken for missing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moat_det.data.formats.yolo_files import find_labels
from moat_det.data.images import find
from moat_det.data.images.find import find_split, walk
from moat_det.errors import UserError

Forbid = Callable[[Path], None]


@pytest.fixture
def forbid(monkeypatch: pytest.MonkeyPatch) -> Forbid:
    """Folders become closed also to root, which may read all, and who may run the tests."""
    closed: set[str] = set()
    find._tell_left_out.cache_clear()

    def guard(name: str, inside: bool) -> None:
        call = getattr(os, name)

        def guarded(path: Any = ".", *more: Any, **named: Any) -> Any:
            asked = "" if isinstance(path, int) else os.fspath(path)
            if any(asked.startswith(folder + os.sep) if inside else asked == folder for folder in closed):
                raise PermissionError(13, "Permission denied", asked)
            return call(path, *more, **named)

        monkeypatch.setattr(os, name, guarded)

    guard("scandir", inside=False)
    guard("listdir", inside=False)
    guard("stat", inside=True)
    return lambda folder: closed.add(str(folder))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for file in ("images/a.png", "images/b/c.png", "labels/a.txt", "labels/b/c.txt"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    return tmp_path / "images"


def test_a_folder_that_is_named_is_refused(images: Path, forbid: Forbid) -> None:
    forbid(images)
    message = rf"{images}: cannot be read \(Permission denied\); check its permissions"
    with pytest.raises(UserError, match=message):
        list(walk(images))
    with pytest.raises(UserError, match=message):
        find_split(images)


def test_a_sub_folder_is_left_out_and_said_once(images: Path, forbid: Forbid, log: list[str]) -> None:
    assert len(find_split(images).images) == 2
    forbid(images / "b")
    for _ in range(2):
        assert find_split(images).images == [str(images / "a.png")]
    (line,) = log
    assert f"{images / 'b'}: left out, since it cannot be read (Permission denied); check its permissions" in line


@pytest.mark.parametrize("closed", ["labels", "labels/b"])
def test_images_whose_labels_may_not_be_read_are_no_good_parts(closed: str, images: Path, forbid: Forbid) -> None:
    files = [str(images / "a.png"), str(images / "b" / "c.png")]
    assert None not in find_labels(files).values()
    forbid(images.parent / closed)
    with pytest.raises(UserError, match=r"labels.*: the labels in it cannot be read \(Permission denied\)"):
        find_labels(files)
