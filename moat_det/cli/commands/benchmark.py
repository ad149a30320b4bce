"""`moat benchmark`."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from moat_det.backbones.windows import WINDOW
from moat_det.benchmark import cases as settings
from moat_det.benchmark import roofline
from moat_det.benchmark.exports import Exports
from moat_det.benchmark.plot import plot
from moat_det.benchmark.report import Baseline, table, write_csv, write_json
from moat_det.benchmark.runner import Row, run_cases, side_by_side
from moat_det.benchmark.sliced import check_installed
from moat_det.cli.command import Arguments, Command
from moat_det.errors import UserError
from moat_det.export.formats import check_installed as check_format
from moat_det.files import atomic_write_csv, check_writable
from moat_det.options import option
from moat_det.progress import progress

_FORMS = ("plain", "blocked")


@dataclass(frozen=True)
class BenchmarkOptions:
    """What is measured, and how."""

    out: Path = option(..., "where benchmark.csv, .json and .png go", metavar="FOLDER")
    models: list[str] = option([], "backbones by name, or model YAMLs", metavar="M ...")
    peers: list[str] = option([], "models of the engine, such as yolo11s yolo26n", metavar="M ...")
    imgsz: list[str] = option(["640"], "sides in pixels, or HxW", metavar="N ...")
    window: list[str] = option(["full"], WINDOW, metavar="W ...")
    formats: list[str] = option(
        [settings.TORCH],
        f"{' or '.join(settings.FORMATS)}: the model itself, or a file that is exported of it, in its runtime",
        metavar="F ...",
    )
    dtype: list[str] = option(
        ["float32"], f"{' or '.join(settings.DTYPES)}, as far as a format has it", metavar="D ..."
    )
    device: list[str] = option(["cpu"], " or ".join(settings.DEVICES), metavar="D ...")
    mode: list[str] = option(["forward"], "forward, which is detection, or train, a step of it", metavar="M ...")
    norms: list[str] = option(["folded"], "batch norms in detection: folded or unfolded", metavar="N ...")
    checkpoint_attention: bool = option(False, "recompute attention in the backward pass")
    roofline: bool = option(False, "say what bounds each part of a model instead: its operations or its bytes")
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
            ("formats", settings.FORMATS),
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
    if options.roofline:
        return _roofline(cases, options, threads)
    baseline = Baseline(options.baseline, cases)
    files = {suffix: options.out / f"benchmark.{suffix}" for suffix in ("csv", "json", "png")}
    _check_free(files.values())
    check_writable(options.out)  # before the minutes that a measurement takes
    rows: list[Row] = []
    try:
        for measured in _measured(cases, options.repeats, threads):
            rows = sorted([*rows, *measured], key=lambda row: cases.index(row.case))
            write_csv(files["csv"], rows, baseline)
            write_json(files["json"], rows, baseline, arguments.words, threads)
            plot(files["png"], rows)
    except KeyboardInterrupt:
        print(f"\nbenchmark: stopped; {len(rows)} of {len(cases)} measurements are in {options.out}", file=sys.stderr)
        return 130
    print(table(rows, baseline))
    print(f"\nResults in {options.out}")
    return int(all(row.error for row in rows))


def _check_free(files: Iterable[Path]) -> None:
    for file in files:
        if file.exists():
            raise UserError(f"{file} is there already: choose another --out, so that its figures are kept")


def _roofline(cases: Sequence[settings.Case], options: BenchmarkOptions, threads: int) -> int:
    """Print what bounds the parts of each model, and write it."""
    file = options.out / "roofline.csv"
    _check_free([file])
    records = []
    for case in cases:
        if not isinstance(case, settings.DetectorCase) or (case.format, case.mode, case.device, case.tiles) != (
            *(settings.TORCH, "forward", "cpu", settings.WHOLE),
        ):
            raise UserError("--roofline: takes whole models in torch, in detection on the cpu")
        limits, parts = roofline.roofline(case, threads, options.repeats)
        print(f"{_settings(case)}; {roofline.table(limits, parts)}\n")
        records += [{**vars(case), **vars(limits), **part.record(limits)} for part in parts]
        atomic_write_csv(file, list(records[0]), records)
    print(f"Results in {file}")
    return 0


def _measured(cases: Sequence[settings.Case], repeats: int, threads: int) -> Iterator[list[Row]]:
    """Measure what is compared side by side, one size after the other, and say so."""
    number = 0
    with tempfile.TemporaryDirectory() as folder:
        formats = {case.format for case in cases if _is_exported(case)}
        for each in sorted(formats):
            check_format(each, f"--formats {each}")
        file_of = Exports(Path(folder)).file_of if formats else None
        for group in side_by_side(cases):
            text = f"{len(group)} of {len(cases)}"
            with progress(text=text, total=len(group) * (repeats + 2), unit="pass", leave=False) as bar:
                rows = run_cases(group, repeats, threads, file_of, bar.update)
            for row in rows:
                number += 1
                print(f"[{number}/{len(cases)}] {_name(row)}", file=sys.stderr, flush=True)
            yield rows


def _is_exported(case: settings.Case) -> TypeGuard[settings.DetectorCase]:
    return isinstance(case, settings.DetectorCase) and case.format != settings.TORCH


def _name(row: Row) -> str:
    """Say what was measured, and what it took."""
    result = f"failed: {row.error}" if row.error else f"{row.seconds:.4g} s, {row.growth:.0f} MiB"
    return f"{_settings(row.case)}: {result}"


def _settings(case: settings.Case) -> str:
    same = {"classes", "channels"}  # in all that this command measures
    values = [value for name, value in vars(case).items() if name not in same]
    return " ".join(str(value) for value in values if value not in {settings.NONE, settings.WHOLE})


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
        formats=options.formats,
    )


COMMAND = Command(
    name="benchmark",
    run=_run,
    options=(BenchmarkOptions,),
    about="Each is measured in a process of its own; those of one size take turns, so that all see the same machine.",
    usage="--out FOLDER [--models M ...] [--peers M ...] [--attention HxW ...] [--imgsz N ...] [--window W ...] ...",
    examples=(
        "benchmark --models tiny_moat0 --imgsz 640 1024 2048 --window full auto --out runs/benchmark",
        "benchmark --models tiny_moat0 --peers yolo11s --formats torch openvino --dtype bfloat16 --out runs/speed",
        "benchmark --attention 32x32 64x64 --heads 7 --mode forward train --out runs/attention",
    ),
)
