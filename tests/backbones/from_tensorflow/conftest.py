"""Fixtures of the tests of `moat_det.backbones.tensorflow`.

This folder is not named as the package: pytest puts its parent on the path, and a folder `tensorflow` there would pass
for TensorFlow itself with every library that tries to import it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Write = Callable[[dict[str, bytes]], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the files of a checkpoint; gives its prefix."""

    def write_files(files: dict[str, bytes]) -> Path:
        prefix = tmp_path / "model.ckpt"
        for suffix, content in files.items():
            Path(f"{prefix}{suffix}").write_bytes(content)
        return prefix

    return write_files


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, which every test must leave empty."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())
