from __future__ import annotations

import time
from pathlib import Path

import pytest

from moat_det.backbones.tensorflow import CheckpointError
from tools.fuzz_checkpoints import fuzz
from tools.fuzzing import Settings


def test_the_reader_stands_500_mutants(tmp_path: Path) -> None:
    report = fuzz(Settings(500, seed=1, seconds_limit=5, keep=tmp_path))
    assert not report.failures
    assert report.accepted > 50
    assert len(report.refused) > 25, "the mutations do not reach the parser behind the checksums"


def crash(_: Path) -> None:
    raise IndexError("list index out of range")


def hang(_: Path) -> None:
    time.sleep(60)


def devour(_: Path) -> None:
    bytes(4 << 20)


def babble(_: Path) -> None:
    raise CheckpointError("two\nlines")


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (crash, "IndexError"),
        (hang, "takes more than 0.05 s"),
        (devour, "bytes of memory"),
        (babble, "several lines"),
        (lambda path: None, None),
    ],
)
def test_what_the_fuzzer_finds_it_keeps(tmp_path: Path, read, words: str | None) -> None:  # type: ignore[no-untyped-def]
    report = fuzz(Settings(2, seed=0, seconds_limit=0.05, keep=tmp_path), read)
    if words is None:
        assert not report.failures
        assert not list(tmp_path.iterdir())
    else:
        assert [words in failure for failure in report.failures] == [True, True]
        assert sorted(folder.name for folder in tmp_path.iterdir()) == ["seed0-0", "seed0-1"]
        assert all(any(folder.iterdir()) for folder in tmp_path.iterdir())
