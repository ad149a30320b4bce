"""Feed mutated TensorFlow checkpoints to their reader: whatever the bytes, it must read them or raise CheckpointError.

A mutation may lie behind the checksums: in an entry, in a stored block or in a tar, with everything around it written
anew. Memory is the peak that tracemalloc sees (Python and NumPy) from opening a checkpoint to reading its last
variable, one at a time, and is held against 10 times the bytes of its files plus 1 MiB.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import itertools
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from moat_det.backbones.tensorflow import CheckpointError, open_checkpoint
from tools.bundle_writer import Bundle, sample, table, tar, varint

MEMORY_RATIO, MEMORY_FLOOR = 10, 1 << 20
EXTREMES = [0, 1, 2, 15, 16, 127, 128, 255, 1 << 14, 1 << 20, 1 << 31, 1 << 32, 1 << 40, 1 << 62, 1 << 63]
EXTREMES += [-1, -2, -512, (1 << 15) - 1, (1 << 31) - 1, (1 << 32) - 1, (1 << 63) - 1]
PREFIX = "model.ckpt"


class Hang(BaseException):
    """A checkpoint takes longer than it may."""


def spoil(data: bytes, rng: random.Random) -> bytes:
    """Change some bytes: one to three of the usual mutations."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(out) + 1)
        size = min(rng.choice((1, 2, 4, 8, 16, 64, 512)), len(out) - at)
        kind = rng.randrange(9)
        if kind == 0 and out:
            out[at % len(out)] ^= 1 << rng.randrange(8)
        elif kind == 1 and out:
            out[at % len(out)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            del out[at : at + size]
        elif kind == 4:
            out[at:at] = out[at : at + size] * rng.choice((1, 1, 2, 50))
        elif kind == 5:  # splice: bytes of one place at another
            start = rng.randrange(len(out) + 1)
            out[at : at + size] = out[start : start + size]
        elif kind == 6:
            out[at : at + rng.randrange(3)] = varint(rng.choice(EXTREMES))
        elif kind == 7:  # a length field: 32 or 64 bits, or octal as in a tar
            number = rng.choice(EXTREMES)
            width = rng.choice((4, 8))
            text = rng.choice(((number % (1 << 8 * width)).to_bytes(width, "little"), b"%011o\0" % (number % 8**11)))
            out[at : at + len(text)] = text
        else:
            out[at : at + size] = rng.randbytes(size)
    return bytes(out)


def spoiled_tar(data: bytes, rng: random.Random) -> bytes:
    """Change some bytes of one header of a tar and, mostly, mend its checksum; or change bytes anywhere."""
    headers = [at for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"]
    if rng.random() < 0.3:
        return spoil(data, rng)
    at = rng.choice(headers)
    header = bytearray(data[at : at + 512])
    kind = rng.randrange(3)
    if kind == 0:
        header[156:157] = rng.choice((b"0", b"\0", b"1", b"2", b"5", b"7", b"x", b"g", b"L", b"K", b"S"))
    elif kind == 1:
        number = rng.choice(EXTREMES)
        header[124:136] = rng.choice(
            (b"%011o\0" % (number % 8**11), b"\x80" + (number % (1 << 88)).to_bytes(11, "big"))
        )
    else:
        header = bytearray(spoil(bytes(header), rng)[:512].ljust(512, b"\0"))
    if rng.random() < 0.9:
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
    return data[:at] + bytes(header) * rng.choice((1, 1, 1, 2, 30)) + data[at + 512 :]


def spoiled_table(bundle: Bundle, place: str, rng: random.Random) -> bytes:
    """An index with a change in a "field" of an entry, in an "entry" or in a stored "block", and right checksums."""
    pairs = bundle.pairs()
    at = rng.randrange(len(pairs))
    key, value = pairs[at]
    if place == "field" and key:
        entry = bundle.entries[key.decode()]
        name = rng.choice(("dtype", "shape", "shard", "offset", "size", "slices"))
        number = rng.choice((rng.choice(EXTREMES), rng.randrange(40)))
        many = {"shape": tuple(rng.choice(EXTREMES) for _ in range(rng.randrange(5))), "slices": (value,)}
        pairs[at] = key, dataclasses.replace(entry, **{name: many.get(name, number)}).encode()  # type: ignore[arg-type]
    elif place == "entry":
        pairs[at] = (spoil(key, rng), value) if rng.random() < 0.2 else (key, spoil(value, rng))
        if rng.random() < 0.1:
            pairs = rng.sample(pairs, rng.randrange(len(pairs) + 1))
    block_numbers, chosen = itertools.count(), rng.randrange(4) if place == "block" else -1
    return table(
        pairs,
        compress=bundle.compress,
        block_size=bundle.block_size,
        restart_interval=rng.choice((1, 16)),
        spoil=lambda block: spoil(block, rng) if next(block_numbers) == chosen else block,
    )


def mutant(rng: random.Random, seeds: list[Bundle]) -> dict[str, bytes]:
    """The files of one mutated checkpoint: its index and data, or one archive named "archive"."""
    seed = rng.choice(seeds)
    files = seed.files()
    place = rng.choice(("file", "field", "entry", "block", "block", "tar", "gzip"))
    if place == "file":
        name = rng.choice([*files, ".index"])
        files[name] = spoil(files[name], rng)
    elif place in ("field", "entry", "block"):
        files[".index"] = spoiled_table(seed, place, rng)
    if place not in ("tar", "gzip") and rng.random() < 0.7:
        return {f"{PREFIX}{suffix}": content for suffix, content in files.items()}
    names = [f"folder/{PREFIX}{suffix}" for suffix in files]
    archive = tar(dict(zip(names, files.values(), strict=True)))
    if place == "tar":
        archive = spoiled_tar(archive, rng)
    if place == "gzip" or rng.random() < 0.5:
        archive = gzip.compress(archive, 1, mtime=0)
    return {"archive": spoil(archive, rng) if place == "gzip" else archive}


def read_everything(path: Path) -> None:
    """Open a checkpoint and read each of its variables."""
    with open_checkpoint(path) as checkpoint:
        for name in checkpoint.variables:
            checkpoint.read(name)


@dataclasses.dataclass
class Report:
    """What came of all the mutants."""

    accepted: int = 0
    refused: Counter[str] = dataclasses.field(default_factory=Counter)  # by fault, without names and numbers
    failures: list[str] = dataclasses.field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)  # seconds, mutant
    largest: tuple[float, int] = (0.0, -1)  # peak of memory / what is allowed, mutant
    peak: int = 0  # bytes


def fuzz(
    count: int, seed: int, seconds_limit: float, keep: Path, read: Callable[[Path], None] = read_everything
) -> Report:
    """Read `count` mutants.

    Args:
        count: Mutants.
        seed: Seed of the mutations; with the number of a mutant it gives the mutant.
        seconds_limit: Seconds that one may take.
        keep: The folder that gets the files of those that fail.
        read: What is tested: reads the checkpoint at a path.
    """
    seeds = [sample(), sample(shards=3, seed=1), sample(seed=2), sample(shards=2, seed=3)]
    seeds[0].block_size = 1 << 18  # TensorFlow's own: one block
    seeds[2].compress = seeds[3].compress = True
    report = Report()
    previous = signal.signal(signal.SIGALRM, _raise_hang)
    tracemalloc.start()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as home:
        folder, temporary = Path(home, "files"), Path(home, "temporary")
        folder.mkdir()
        temporary.mkdir()
        outer, tempfile.tempdir = tempfile.tempdir, str(temporary)  # where archives are unpacked
        try:
            for number in tqdm(range(count), unit="file", disable=None):
                files = mutant(random.Random(f"{seed} {number}"), seeds)
                for name, content in files.items():
                    (folder / name).write_bytes(content)
                path = folder / ("archive" if "archive" in files else PREFIX)
                failure = _try(read, path, number, sum(map(len, files.values())), seconds_limit, report)
                if not failure and any(temporary.iterdir()):
                    failure = "temporary files are left behind"
                if failure:
                    kept = keep / f"seed{seed}-{number}"
                    shutil.copytree(folder, kept, dirs_exist_ok=True)
                    report.failures.append(f"{kept}: {failure}")
                    tqdm.write(report.failures[-1])
                for name in files:
                    (folder / name).unlink()
        finally:
            tempfile.tempdir = outer
            tracemalloc.stop()
            signal.signal(signal.SIGALRM, previous)
    return report


def _raise_hang(*_: object) -> None:
    raise Hang


def _try(
    read: Callable[[Path], None], path: Path, number: int, size: int, seconds_limit: float, report: Report
) -> str | None:
    """Read one mutant and enter it into the report; returns what went wrong."""
    allowed = MEMORY_RATIO * size + MEMORY_FLOOR
    outcome, seconds, peak = _measure(read, path, seconds_limit)
    if peak > allowed:  # now and then the interpreter makes its table of interned strings anew, which takes 4 MB
        peak = min(peak, _measure(read, path, seconds_limit)[2])
    report.slowest = max(report.slowest, (seconds, number))
    report.largest = max(report.largest, (peak / allowed, number))
    report.peak = max(report.peak, peak)
    if outcome is None:
        report.accepted += 1
    elif isinstance(outcome, CheckpointError):
        fault = str(outcome).partition(": ")[2].rpartition(": ")[0]  # without the file and the remedy
        report.refused[re.sub(r"b?'.*'|\".*\"|\[.*\]|\(.*\)|\b\d+", "_", fault)] += 1
        if "\n" in str(outcome):
            return f"a message of several lines: {outcome!r}"
    else:
        return f"takes more than {seconds_limit} s" if isinstance(outcome, Hang) else repr(outcome)
    return f"takes {peak} bytes of memory for {size} of files" if peak > allowed else None


def _measure(read: Callable[[Path], None], path: Path, seconds_limit: float) -> tuple[BaseException | None, float, int]:
    """Read one mutant: what was raised, seconds and peak of memory in bytes."""
    tracemalloc.reset_peak()
    before, start, outcome = tracemalloc.get_traced_memory()[0], time.perf_counter(), None
    signal.setitimer(signal.ITIMER_REAL, seconds_limit)
    try:
        read(path)
    except (Exception, Hang) as error:
        outcome = error.with_traceback(None)  # which would hold what the reader held
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return outcome, time.perf_counter() - start, tracemalloc.get_traced_memory()[1] - before


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100_000, help="mutants (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds-limit", type=float, default=5.0, help="seconds that one may take (default: 5)")
    parser.add_argument("--keep", type=Path, default=Path("runs/fuzz_checkpoints"), help="where failing files go")
    arguments = parser.parse_args()
    report = fuzz(arguments.count, arguments.seed, arguments.seconds_limit, arguments.keep)
    refused = sum(report.refused.values())
    for fault, times in report.refused.most_common():
        print(f"{times:8d}  {fault}")
    print(
        f"{arguments.count} mutants: {report.accepted} read, {refused} refused for {len(report.refused)} kinds of fault"
    )
    print(f"slowest: {report.slowest[0]:.3f} s (mutant {report.slowest[1]})")
    print(
        f"memory: at most {report.peak / 1e6:.2f} MB, {100 * report.largest[0]:.0f} % of {MEMORY_RATIO} x files + 1 MiB"
        f" (mutant {report.largest[1]})"
    )
    print(f"failures (crashes, hangs, memory): {len(report.failures)}", *report.failures, sep="\n  ")
    sys.exit(1 if report.failures else 0)


if __name__ == "__main__":
    main()
