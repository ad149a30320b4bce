"""A small backbone, and pictures of two classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.classes import SMALL, write_pictures


@pytest.fixture
def small_yaml(tmp_path: Path) -> Path:
    """A model YAML of a small backbone."""
    path = tmp_path / "small.yaml"
    settings = "\n".join(f"  {key}: {value}" for key, value in SMALL.items())
    path.write_text(f"backbone:\n{settings}\nneck: {{channels: [16, 16, 16]}}\n")
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with train/ and val/ of two classes."""
    write_pictures(tmp_path / "pictures" / "train", 12)
    write_pictures(tmp_path / "pictures" / "val", 4)
    return tmp_path / "pictures"
