#!/usr/bin/env python
"""Measure time and peak memory of detectors, or of attention alone, each in a process of its own.

python tools/benchmark.py --models tiny_moat0 --imgsz 640 1024 2048 --window full auto --out runs/benchmark
python tools/benchmark.py --attention 32x32 64x64 --heads 7 --mode forward train --out runs/attention
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from moat_det.benchmark import cases as settings
from moat_det.benchmark.plot import plot
from moat_det.benchmark.report import Baseline, table, write_csv, write_json
from moat_det.benchmark.runner import Row, run_case
from moat_det.benchmark.sliced import check_installed
from moat_det.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 if nothing could be measured, 2 after a user's mistake."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    args = parser.parse_args(words)
    cases: Sequence[settings.Case] = ()
    rows: list[Row] = []
    try:
        cases = _cases(args)
        baseline = Baseline(args.baseline, cases)
        if min(args.threads, args.repeats, args.batch, args.heads) < 1:
            raise UserError("--threads, --repeats, --batch and --heads must be 1 or more")
        files = {suffix: args.out / f"benchmark.{suffix}" for suffix in ("csv", "json", "png")}
        for file in files.values():
            if file.exists():
                raise UserError(f"{file} is there already: choose another --out, so that its figures are kept")
        for number, case in enumerate(cases, 1):
            print(f"[{number}/{len(cases)}] {_name(case)}: ", end="", file=sys.stderr, flush=True)
            row = run_case(case, args.repeats, args.threads)
            print(_result(row), file=sys.stderr, flush=True)
            rows.append(row)
            write_csv(files["csv"], rows, baseline)
            write_json(files["json"], rows, baseline, words, args.threads)
            plot(files["png"], rows)
    except UserError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"{parser.prog}: error: {error.filename or args.out} cannot be written: {error.strerror}", file=sys.stderr
        )
        return 2
    except KeyboardInterrupt:
        print(f"\n{parser.prog}: stopped; {len(rows)} of {len(cases)} measurements are in {args.out}", file=sys.stderr)
        return 130
    print(table(rows, baseline))
    print(f"\nResults in {args.out}")
    return int(all(row.error for row in rows))


def _cases(args: argparse.Namespace) -> Sequence[settings.Case]:
    if args.attention:
        if args.models or args.peers or args.sliced:
            raise UserError("--attention measures attention alone: leave --models, --peers and --sliced out")
        return settings.attention_cases(
            args.attention, args.form, args.heads, args.dtype, args.mode, args.batch, args.device
        )
    if not args.models and not args.peers:
        raise UserError("nothing to measure: give --models or --peers, or --attention")
    if args.sliced is not None:
        check_installed()
    return settings.detector_cases(
        args.models,
        args.peers,
        imgsz=args.imgsz,
        windows=args.window,
        dtypes=args.dtype,
        modes=args.mode,
        norms=args.norms,
        checkpoint_attention=args.checkpoint_attention,
        batch=args.batch,
        tiles=args.sliced,
        devices=args.device,
    )


def _name(case: settings.Case) -> str:
    return " ".join(str(value) for value in vars(case).values() if value not in {settings.NONE, settings.WHOLE})


def _result(row: Row) -> str:
    return f"failed: {row.error}" if row.error else f"{row.seconds:.4g} s, {row.growth:.0f} MiB"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    add = parser.add_argument
    add("--models", nargs="+", default=[], metavar="M", help="backbones by name, or model YAMLs")
    add("--peers", nargs="+", default=[], metavar="M", help="models of the engine, such as yolo11s yolo26n")
    add("--imgsz", nargs="+", default=["640"], metavar="N", help="sides in pixels, or HxW (default: 640)")
    add("--window", nargs="+", default=["full"], metavar="W", help="attention windows, as val.py takes them")
    add("--dtype", nargs="+", default=["float32"], choices=settings.DTYPES)
    add("--device", nargs="+", default=["cpu"], choices=settings.DEVICES)
    add("--mode", nargs="+", default=["forward"], choices=settings.MODES, help="detection, or a step of training")
    add("--norms", nargs="+", default=["folded"], choices=settings.NORMS, help="batch norms, in detection")
    add("--checkpoint-attention", action="store_true", help="recompute attention in the backward pass")
    add("--sliced", type=int, metavar="N", help="detect also in tiles of N pixels (SAHI)")
    add("--attention", nargs="+", metavar="HxW", help="measure attention alone, on maps of so many cells")
    add("--form", nargs="+", default=["plain", "blocked"], choices=["plain", "blocked"], help="of attention alone")
    add("--heads", type=int, default=7, metavar="N", help="of attention alone (default: 7, as in tiny_moat2)")
    add("--batch", type=int, default=1, metavar="N", help="images in a pass (default: 1)")
    add("--repeats", type=int, default=3, metavar="N", help="passes whose median counts (default: 3)")
    add(
        "--threads",
        type=int,
        default=int(os.environ["OMP_NUM_THREADS"].split(",")[0]),
        metavar="N",
        help="(default: all cores)",
    )
    add(
        "--baseline",
        metavar="SETTING=VALUE",
        help="compare each row with the one that differs in this setting alone: norms=unfolded, dtype=float32, "
        "imgsz=1024, model=yolo11s, form=plain (default: with the first row)",
    )
    add("--out", type=Path, required=True, metavar="FOLDER", help="where benchmark.csv, .json and .png go")
    return parser


if __name__ == "__main__":
    sys.exit(main())
