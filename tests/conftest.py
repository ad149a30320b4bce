"""Fixtures that every test shares."""

from __future__ import annotations

import os
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
