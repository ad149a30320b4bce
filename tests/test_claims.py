"""A folder has one owner, and a write that fails says where and why."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from moat_det.files import atomic_path, claim_folder, naming


def test_each_of_many_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(lambda _: claim_folder(tmp_path / "deep" / "d"), range(16)))
    assert {folder.name for folder in folders} == {"d", *(f"d-{number}" for number in range(2, 17))}
    assert claim_folder(tmp_path / "deep" / "d", exist_ok=True).name == "d"


def test_a_failed_write_names_the_file_that_was_to_be(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full") as caught, atomic_path(tmp_path / "a.pt"):
        raise OSError(errno.ENOSPC, "full")
    assert caught.value.filename == str(tmp_path / "a.pt")
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "a.pt"):
        raise RuntimeError("no fault of the disk")
    with pytest.raises(OSError, match="full") as caught, naming(tmp_path):
        raise OSError(errno.ENOSPC, "full")
    assert caught.value.filename == str(tmp_path)
    assert list(tmp_path.iterdir()) == []
