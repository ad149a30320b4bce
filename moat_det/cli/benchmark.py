"""`moat benchmark`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from moat_det.backbones.windows import WINDOW
from moat_det.benchmark import cases as settings
from moat_det.benchmark.plot import plot
from moat_det.benchmark.report import Baseline, table, write_csv, write_json
from moat_det.benchmark.runner import Row, run_case
from moat_det.benchmark.sliced import check_installed
from moat_det.cli.command import Arguments, Command
from moat_det.errors import UserError
from moat_det.options import option

_FORMS = ("plain", "blocked")


@dataclass(frozen=True)
class BenchmarkOptions:
    """What is measured, and how."""

    out: Path = option(..., "where benchmark.csv, .json and .png go", metavar="FOLDER")
    models: list[str] = option([], "backbones by name, or model YAMLs", metavar="M ...")
    peers: list[str] = option([], "models of the engine, such as yolo11s yolo26n", metavar="M ...")
    imgsz: list[str] = option(["640"], "sides in pixels, or HxW", metavar="N ...")
    window: list[str] = option(["full"], WINDOW, metavar="W ...")
    dtype: list[str] = option(["float32"], " or ".join(settings.DTYPES), metavar="D ...")
    device: list[str] = option(["cpu"], " or ".join(settings.DEVICES), metavar="D ...")
    mode: list[str] = option(["forward"], "forward, which is detection, or train, a step of it", metavar="M ...")
    norms: list[str] = option(["folded"], "batch norms in detection: folded or unfolded", metavar="N ...")
    checkpoint_attention: bool = option(False, "recompute attention in the backward pass")
    sliced: int | None = option(None, "detect also in tiles of N pixels (SAHI)", metavar="N")
    attention: list[str] | None = option(None, "measure attention alone, on maps of so many cells", metavar="HxW ...")
    form: list[str] = option([*_FORMS], "of attention alone: plain or blocked", metavar="F ...")
    heads: int = option(7, "of attention alone; tiny_moat2 has 7", metavar="N")
    batch: int = option(1, "images in a pass", metavar="N")
    repeats: int = option(3, "passes whose median counts", metavar="N")
    threads: int | None = option(None, "of the measuring process (default: all cores)", metavar="N")
    baseline: str | None = option(
        None,
        "compare each row with the one that differs in this setting alone: norms=unfolded, dtype=float32, imgsz=1024, "
        "model=yolo11s, form=plain (default: with the first row)",
        metavar="SETTING=VALUE",
    )

    def __post_init__(self) -> None:
        """Check the values."""
        if min(self.repeats, self.batch, self.heads, 1 if self.threads is None else self.threads) < 1:
            raise UserError("--threads, --repeats, --batch and --heads must be 1 or more")
        for name, known in (
            ("dtype", settings.DTYPES),
            ("device", settings.DEVICES),
            ("mode", settings.MODES),
            ("norms", settings.NORMS),
            ("form", _FORMS),
        ):
            for word in getattr(self, name):
                if word not in known:
                    raise UserError(f"--{name} {word}: must be {' or '.join(known)}")


def _run(arguments: Arguments) -> int:
    options = arguments.take(BenchmarkOptions)
    threads = options.threads or int(os.environ["OMP_NUM_THREADS"].split(",")[0])
    cases = _cases(options)
    baseline = Baseline(options.baseline, cases)
    files = {suffix: options.out / f"benchmark.{suffix}" for suffix in ("csv", "json", "png")}
    for file in files.values():
        if file.exists():
            raise UserError(f"{file} is there already: choose another --out, so that its figures are kept")
    rows: list[Row] = []
    try:
        for row in _measured(cases, options.repeats, threads):
            rows.append(row)
            write_csv(files["csv"], rows, baseline)
            write_json(files["json"], rows, baseline, arguments.words, threads)
            plot(files["png"], rows)
    except KeyboardInterrupt:
        print(f"\nbenchmark: stopped; {len(rows)} of {len(cases)} measurements are in {options.out}", file=sys.stderr)
        return 130
    print(table(rows, baseline))
    print(f"\nResults in {options.out}")
    return int(all(row.error for row in rows))


def _measured(cases: Sequence[settings.Case], repeats: int, threads: int) -> Iterator[Row]:
    """Measure one case after the other, and say so."""
    for number, case in enumerate(cases, 1):
        name = " ".join(str(value) for value in vars(case).values() if value not in {settings.NONE, settings.WHOLE})
        print(f"[{number}/{len(cases)}] {name}: ", end="", file=sys.stderr, flush=True)
        row = run_case(case, repeats, threads)
        result = f"failed: {row.error}" if row.error else f"{row.seconds:.4g} s, {row.growth:.0f} MiB"
        print(result, file=sys.stderr, flush=True)
        yield row


def _cases(options: BenchmarkOptions) -> Sequence[settings.Case]:
    if options.attention:
        if options.models or options.peers or options.sliced:
            raise UserError("--attention measures attention alone: leave --models, --peers and --sliced out")
        return settings.attention_cases(
            options.attention, options.form, options.heads, options.dtype, options.mode, options.batch, options.device
        )
    if not options.models and not options.peers:
        raise UserError("nothing to measure: give --models or --peers, or --attention")
    if options.sliced is not None:
        check_installed()
    return settings.detector_cases(
        options.models,
        options.peers,
        imgsz=options.imgsz,
        windows=options.window,
        dtypes=options.dtype,
        modes=options.mode,
        norms=options.norms,
        checkpoint_attention=options.checkpoint_attention,
        batch=options.batch,
        tiles=options.sliced,
        devices=options.device,
    )


COMMAND = Command(
    name="benchmark",
    run=_run,
    options=(BenchmarkOptions,),
    about="Each is measured in a process of its own.",
    usage="--out FOLDER [--models M ...] [--peers M ...] [--attention HxW ...] [--imgsz N ...] [--window W ...] ...",
    examples=(
        "benchmark --models tiny_moat0 --imgsz 640 1024 2048 --window full auto --out runs/benchmark",
        "benchmark --attention 32x32 64x64 --heads 7 --mode forward train --out runs/attention",
    ),
)
