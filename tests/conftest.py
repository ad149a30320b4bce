"""Fixtures that every test shares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import moat_det.offline  # noqa: F401  (before any test imports the engine)

REPO = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("MOAT_DET_SHARED", REPO.parent / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden outputs and real data; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no shared data at {SHARED} (set MOAT_DET_SHARED)")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's cache during the tests: not the one of whoever runs them."""
    folder = tmp_path_factory.mktemp("user") / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOAT_DET_CACHE", str(folder))
        yield folder
