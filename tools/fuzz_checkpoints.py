"""Feed mutated TensorFlow checkpoints to their reader: whatever the bytes, it must read them or raise CheckpointError.

A mutation may lie behind the checksums: in an entry, in a stored block or in a tar, with everything around it written
anew. Memory is the peak that tracemalloc sees (Python and NumPy) from opening a checkpoint to reading its last
variable, one at a time, and is held against 10 times the bytes of its files plus 1 MiB.
"""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import random
import shutil
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from moat_det.backbones.tensorflow import CheckpointError, open_checkpoint
from tools.bundle_writer import Bundle, sample, table, tar, varint
from tools.fuzzing import Report, Settings, feed, run, timed

MEMORY_RATIO, MEMORY_FLOOR = 10, 1 << 20
EXTREMES = [0, 1, 2, 15, 16, 127, 128, 255, 1 << 14, 1 << 20, 1 << 31, 1 << 32, 1 << 40, 1 << 62, 1 << 63]
EXTREMES += [-1, -2, -512, (1 << 15) - 1, (1 << 31) - 1, (1 << 32) - 1, (1 << 63) - 1]
PREFIX = "model.ckpt"


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
    """Give an index with a change in a "field" of an entry, an "entry" or a stored "block", and right checksums."""
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
    """Give the files of one mutated checkpoint: its index and data, or one archive named "archive"."""
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


def fuzz(settings: Settings, read: Callable[[Path], None] = read_everything) -> Report:
    """Read mutants of checkpoints.

    Args:
        settings: How many, and what they may take.
        read: What is tested: reads the checkpoint at a path.
    """
    seeds = [sample(), sample(shards=3, seed=1), sample(seed=2), sample(shards=2, seed=3)]
    seeds[0].block_size = 1 << 18  # TensorFlow's own: one block
    seeds[2].compress = seeds[3].compress = True
    with tempfile.TemporaryDirectory(prefix="fuzz-") as home:
        folder, temporary = Path(home, "files"), Path(home, "temporary")
        temporary.mkdir()
        peaks: list[int] = []  # bytes, of each mutant
        largest = (0.0, -1)  # peak / what is allowed, mutant

        def write(_: int, rng: random.Random) -> Path:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for name, content in mutant(rng, seeds).items():
                (folder / name).write_bytes(content)
            return folder

        def read_measured(folder: Path) -> None:
            archive = folder / "archive"
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                read(archive if archive.exists() else folder / PREFIX)
            finally:
                peaks.append(tracemalloc.get_traced_memory()[1] - before)

        def check(number: int, folder: Path) -> str | None:
            nonlocal largest
            size = sum(file.stat().st_size for file in folder.iterdir())
            allowed = MEMORY_RATIO * size + MEMORY_FLOOR
            if peaks[-1] > allowed:  # now and then the interpreter makes its table of interned strings anew: 4 MB
                timed(read_measured, folder, settings.seconds_limit)
                peaks[-2:] = [min(peaks[-2:])]
            largest = max(largest, (peaks[-1] / allowed, number))
            if peaks[-1] > allowed:
                return f"takes {peaks[-1]} bytes of memory for {size} of files"
            return "temporary files are left behind" if any(temporary.iterdir()) else None

        outer, tempfile.tempdir = tempfile.tempdir, str(temporary)  # where archives are unpacked
        tracemalloc.start()
        try:
            report = feed(settings, write, read_measured, CheckpointError, _judge, check)
        finally:
            tempfile.tempdir = outer
            tracemalloc.stop()
    report.notes.append(
        f"memory: at most {max(peaks, default=0) / 1e6:.2f} MB, {100 * largest[0]:.0f} % of {MEMORY_RATIO} x files + "
        f"1 MiB (mutant {largest[1]})"
    )
    return report


def _judge(error: Exception) -> tuple[str, None]:
    return str(error).partition(": ")[2].rpartition(": ")[0], None  # without the file and the remedy


if __name__ == "__main__":
    sys.exit(run(fuzz, "fuzz_checkpoints", __doc__ or "", count=100_000))
