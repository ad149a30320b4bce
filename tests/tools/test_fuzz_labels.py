from __future__ import annotations

import time
from pathlib import Path

import pytest

from tools import fuzz_labels
from tools.fuzzing import Settings


def test_the_readers_stand_400_mutants(tmp_path: Path) -> None:
    report = fuzz_labels.fuzz(Settings(400, seed=1, seconds_limit=20, keep=tmp_path))
    assert not report.failures
    assert report.accepted > 15
    assert len(report.refused) > 50, "the mutations do not reach what lies behind the parsers"


def crash(*_: object) -> None:
    raise IndexError("list index out of range")


def hang(*_: object) -> None:
    time.sleep(60)


@pytest.mark.parametrize(("read", "said"), [(crash, "IndexError"), (hang, "takes more than")])
def test_what_goes_wrong_is_found_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: object, said: str
) -> None:
    monkeypatch.setattr(fuzz_labels, "read", read)
    report = fuzz_labels.fuzz(Settings(4, seed=1, seconds_limit=0.05, keep=tmp_path))
    assert len(report.failures) == 4
    assert all(said in failure for failure in report.failures)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".txt", ".xml", ".yaml"]
