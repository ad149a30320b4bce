"""Feed mutants to a reader: each must be read, or refused in one line; what crashes or hangs is kept."""

from __future__ import annotations

import argparse
import random
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from moat_det.progress import progress


class Hang(BaseException):
    """A mutant takes longer than it may."""


@dataclass
class Report:
    """What came of all the mutants."""

    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # by fault, without names and numbers
    failures: list[str] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)  # seconds, mutant
    notes: list[str] = field(default_factory=list)  # further lines for the end


@dataclass(frozen=True)
class Settings:
    """What the command lines have in common.

    Attributes:
        count: Mutants.
        seed: Seed of the mutations; with the number of a mutant it gives the mutant.
        seconds_limit: Seconds that one may take.
        keep: The folder that gets the files of those that fail.
    """

    count: int
    seed: int
    seconds_limit: float
    keep: Path


def feed(
    settings: Settings,
    write: Callable[[int, random.Random], Path],
    read: Callable[[Path], None],
    refusal: type[Exception],
    judge: Callable[[Exception], tuple[str, str | None]],
    check: Callable[[int, Path], str | None] = lambda number, place: None,
) -> Report:
    """Write and read mutants, one after the other.

    Args:
        settings: How many, and what they may take.
        write: Writes the mutant of a number; gives its file or folder.
        read: What is tested.
        refusal: What `read` raises for what it does not take.
        judge: Gives the fault that a refusal names, without paths, and what is wrong with its message.
        check: Looks at what a mutant has left behind; gives what is wrong.
    """
    report = Report()
    for number in progress(range(settings.count), "fuzzing", unit="file"):
        place = write(number, random.Random(f"{settings.seed} {number}"))
        outcome, seconds = timed(read, place, settings.seconds_limit)
        report.slowest = max(report.slowest, (seconds, number))
        failure = None
        if outcome is None:
            report.accepted += 1
        elif isinstance(outcome, refusal):
            fault, failure = judge(outcome)
            report.refused[re.sub(r"b?'.*'|\".*\"|\[.*\]|\(.*\)|\b\d+", "_", fault)[:100]] += 1
            if len(str(outcome).splitlines()) != 1:
                failure = f"a message of several lines, or of none: {str(outcome)[:300]!r}"
        else:
            hangs = isinstance(outcome, Hang)
            failure = f"takes more than {settings.seconds_limit} s" if hangs else repr(outcome)[:300]
        failure = failure or check(number, place)
        if failure:
            report.failures.append(f"{_keep(place, settings, number)}: {failure}")
            tqdm.write(report.failures[-1])
    return report


def timed(read: Callable[[Path], None], place: Path, seconds_limit: float) -> tuple[BaseException | None, float]:
    """Read one mutant: gives what was raised, and the seconds that it took."""
    previous = signal.signal(signal.SIGALRM, _raise_hang)
    outcome, start = None, time.perf_counter()
    signal.setitimer(signal.ITIMER_REAL, seconds_limit)
    try:
        read(place)
    except (Exception, Hang) as error:
        outcome = error.with_traceback(None)  # which would hold what the reader held
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    return outcome, time.perf_counter() - start


def _raise_hang(*_: object) -> None:
    raise Hang


def _keep(place: Path, settings: Settings, number: int) -> Path:
    kept = settings.keep / f"seed{settings.seed}-{number}{place.suffix}"
    settings.keep.mkdir(parents=True, exist_ok=True)
    if place.is_dir():
        shutil.copytree(place, kept, dirs_exist_ok=True)
    else:
        shutil.copyfile(place, kept)
    return kept


def run(
    fuzz: Callable[[Settings], Report], name: str, description: str, count: int, argv: Sequence[str] | None = None
) -> int:
    """Run a command line.

    Args:
        fuzz: Reads mutants.
        name: Of the tool.
        description: Its help.
        count: How many mutants by default.
        argv: The words; those of the process where there are none.

    Returns:
        The exit code: 0, or 1 where one failed.
    """
    parser = argparse.ArgumentParser(
        description=description, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=count, help="mutants (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds-limit", type=float, default=5.0, help="seconds that one may take (default: 5)")
    parser.add_argument("--keep", type=Path, default=Path("runs", name), help="where failing files go")
    settings = Settings(**vars(parser.parse_args(argv)))
    report = fuzz(settings)
    for fault, times in report.refused.most_common():
        print(f"{times:8d}  {fault}")
    refused = sum(report.refused.values())
    print(
        f"{settings.count} mutants: {report.accepted} read, {refused} refused for {len(report.refused)} kinds of fault"
    )
    print(f"slowest: {report.slowest[0]:.3f} s (mutant {report.slowest[1]})", *report.notes, sep="\n")
    print(f"failures: {len(report.failures)}", *report.failures, sep="\n  ")
    return 1 if report.failures else 0
