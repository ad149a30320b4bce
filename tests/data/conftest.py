"""A small dataset on disk, and what the engine's logger says."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dataset_files import noise

import moat_det.offline  # noqa: F401 - before a test imports the engine


@pytest.fixture
def make_set(tmp_path: Path) -> Callable[[dict[str, str | None]], Path]:
    """Write a set from {image: label text, or None for no file} for both splits; gives its data.yaml."""

    def make(files: dict[str, str | None]) -> Path:
        root = tmp_path / "set"
        for split in ("train", "val"):
            for seed, (name, text) in enumerate(files.items()):
                image = root / "images" / split / name
                image.parent.mkdir(parents=True, exist_ok=True)
                noise(seed=seed).save(image)
                if text is not None:
                    label = (root / "labels" / split / name).with_suffix(".txt")
                    label.parent.mkdir(parents=True, exist_ok=True)
                    label.write_text(text)
        (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [scratch, pit, stain]\n")
        return root / "data.yaml"

    return make


@pytest.fixture
def log() -> Iterator[list[str]]:
    """The messages that the engine's logger writes during the test."""
    messages: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger, handler = logging.getLogger("ultralytics"), Collect()
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)
