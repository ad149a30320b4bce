from __future__ import annotations

import threading
import time
import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from filelock import FileLock
from hypothesis import example, given, settings
from hypothesis import strategies as st

from moat_det.files import atomic_write_text, distinct_names, locked, one_name

PORTS = (f"{port}{number}" for port in ("com", "lpt") for number in "0123456789")
DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$", *PORTS}
TEXTS = st.one_of(
    st.text(st.characters(), max_size=400),
    st.text(st.sampled_from("aA.%/\\:* ~-_1é😀\0\udcfc"), max_size=60),
    st.sampled_from(sorted(DEVICES)).flatmap(
        lambda name: st.sampled_from([name, name.upper(), f"{name}.a", f"{name} ."])
    ),
)


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


# Names


@settings(deadline=None, max_examples=500)
@given(TEXTS)
@example("")
@example(".")
@example("..")
@example("../../x")
@example("C:\\x")
@example("a" * 300)
@example("划" * 300)
def test_any_text_becomes_one_name(text: str) -> None:
    name = one_name(text)
    assert 0 < len(name.encode()) < 200
    assert not set(name) & set('<>:"/\\|?*\0')
    assert name.isascii() or all(ord(char) >= 32 and not "\ud800" <= char <= "\udfff" for char in name)
    assert name[0] not in ". "
    assert name[-1] not in ". "
    assert name.partition(".")[0].strip().lower() not in DEVICES
    for flavour in (PurePosixPath, PureWindowsPath):
        assert (flavour("run") / name).parts == ("run", name)


@settings(deadline=None, max_examples=300)
@given(st.lists(TEXTS, unique=True, max_size=8))
@example(["/", "%2F"])
@example(["Disc", "disc", "disc%=1"])
@example(["a" * 300, "a" * 301])
@example(["é", "e\u0301"])
def test_different_texts_get_different_names(texts: list[str]) -> None:
    assert len(set(map(one_name, texts))) == len(texts)
    names = distinct_names(texts)
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names}) == len(texts)


@pytest.mark.parametrize("text", ["square", "surface crack", "划痕", "0.5mm", "console", "a-b_c", "ß"])
def test_a_usual_text_stays_as_it_is(text: str) -> None:
    assert one_name(text) == text


def test_a_name_as_long_as_the_file_system_takes_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".txt")
    atomic_write_text(path, "pr\udcfcf\n")
    assert path.read_text(encoding="utf-8") == "pr\\udcfcf\n"
    assert list(tmp_path.iterdir()) == [path]
