r"""Measure `moat detect` as a user starts it: start-up, images per second, peak memory, of commands side by side.

Example:
    python -m tools.measure_detect --images parts/ --repeats 3 \
        --commands "moat detect --weights best.pt" "line/bin/moat detect --weights best_onnx"
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line of JSON a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of images")
    parser.add_argument("--commands", nargs="+", required=True, help="to which --source and --project are added")
    parser.add_argument("--repeats", type=int, default=3, help="whose medians count; the commands take turns")
    args = parser.parse_args(argv)
    files = sorted(file for file in args.images.iterdir() if file.is_file())
    runs: dict[str, list[tuple[float, float, float]]] = {command: [] for command in args.commands}
    for _ in range(args.repeats):
        for command, measured in runs.items():
            first, _ = run(command, files[:1])
            seconds, memory = run(command, files)
            measured.append((first, (len(files) - 1) / (seconds - first), memory))
    for command, measured in runs.items():
        start, speed, memory = (statistics.median(column) for column in zip(*measured, strict=True))
        figures = {"one_image_seconds": start, "images_per_second": speed, "peak_mib": memory, "images": len(files)}
        print(json.dumps({"command": command, **{name: round(value, 2) for name, value in figures.items()}}))


def run(command: str, files: Sequence[Path]) -> tuple[float, float]:
    """Detect in some files in a fresh process; gives the seconds from start to end, and its peak memory in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "files.txt"
        listed.write_text("\n".join(str(file.resolve()) for file in files))
        words = [*shlex.split(command), "--source", str(listed), "--project", folder]
        started = time.perf_counter()
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"{command}: failed: {said}")
    return seconds, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
