"""Fixtures that every test shares."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

import moat_det.offline  # noqa: F401  (before any test imports the engine)
from helpers.dataset_files import noise
from moat_det.detector import precision

REPO = Path(__file__).resolve().parents[1]
pytest_plugins = ["helpers.exports"]

SHARED = Path(os.environ.get("MOAT_DET_SHARED", REPO.parent / "shared"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bf16",
        choices=["on", "off", "auto"],
        default="auto",
        help="compute in bfloat16, or not, whatever the CPU has",
    )


def pytest_configure() -> None:
    """Take the signals that tests send, also where the shell that started them ignores some, as after nohup."""
    for name, handler in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def bf16(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have every model of this process compute in what `--bf16` says."""
    with pytest.MonkeyPatch.context() as patch:
        if (choice := request.config.getoption("--bf16")) != "auto":
            patch.setattr(precision, "cpu_computes_bfloat16", lambda: choice == "on")
        yield


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
    """What our modules log during the test."""
    messages: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger, handler = logging.getLogger("moat_det"), Collect()
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


@pytest.fixture(autouse=True)
def log_everything() -> None:
    """Log what a user of `MOAT` sees, also where only a module of the data is tested."""
    logging.getLogger("moat_det").setLevel(logging.INFO)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what a test logs sendable: processes hand reports over as UTF-8, which the names of files need not be."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report
