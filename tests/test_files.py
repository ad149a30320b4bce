from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from moat_det.files import locked


def test_a_lock_lets_one_through_and_says_why_the_other_waits(tmp_path: Path, log: list[str]) -> None:
    held, passed = FileLock(tmp_path / "lock"), []

    def wait() -> None:
        with locked(tmp_path / "lock", "waiting for the other"):
            passed.append(time.monotonic())

    with held:
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(1.5)
        released = time.monotonic()
        assert not passed
    thread.join(timeout=10)
    assert passed[0] >= released
    assert [line.endswith("waiting for the other") for line in log] == [True]


def test_a_free_lock_says_nothing_and_is_given_back_after_an_error(tmp_path: Path, log: list[str]) -> None:
    for _ in range(2):
        with pytest.raises(OSError, match="a full disk"), locked(tmp_path / "lock", "waiting"):
            raise OSError("a full disk")
    assert log == []
