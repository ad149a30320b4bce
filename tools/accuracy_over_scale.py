"""Measure how a detector fares on images larger than those it was trained on, for each way to set its attention.

A detector, and one without position tables, learn parts of the demo set at one size. They are then measured on parts
that are larger by whole factors, whose texture and defects keep their size in pixels: what changes is how much of the
part attention sees at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from moat_det.demo import generate_demo
from moat_det.detector.config import load_config
from moat_det.engine import MOAT
from moat_det.files import atomic_write_json, atomic_write_text
from moat_det.run_folder import best_checkpoint
from tools.command import command, make_parser

# Name -> (which of the two detectors, the settings of its attention).
POLICIES: dict[str, tuple[str, dict[str, str]]] = {
    "full, tables stretched": ("tables", {"window": "full", "position": "stretch"}),
    "full, tables clamped": ("tables", {"window": "full", "position": "clamp"}),
    "auto": ("tables", {"window": "auto"}),
    "windows as in training": ("tables", {"window": "trained"}),
    "full, no tables": ("no tables", {"window": "full"}),
}


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = make_parser((__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for data, runs and the table; work done is kept"
    )
    parser.add_argument("--backbone", default="tiny_moat0", help="backbone of both detectors")
    parser.add_argument("--size", type=int, default=224, help="side of the training images, pixels")
    parser.add_argument("--scales", type=int, nargs="+", default=[1, 2, 4], help="factors on the side")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of the trainings")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--train", type=int, default=480, help="training images")
    parser.add_argument("--val", type=int, default=80, help="validation images of each size")
    args = parser.parse_args(argv)
    table = measure(args)
    atomic_write_json(args.out / "accuracy_over_scale.json", table, indent=2)
    text = markdown(table, args.scales)
    atomic_write_text(args.out / "accuracy_over_scale.md", text)
    print(text)
    return 0


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Draw the data, train what is not trained yet, and measure every policy at every scale.

    Returns:
        A row per policy: `policy`, and `AP` and `AP50`: by scale, one figure for each seed.
    """
    train = generate_demo(args.out / "train", args.train, args.val, (args.size, args.size))
    data = {scale: train if scale == 1 else larger(args, scale) for scale in args.scales}
    detectors = {
        (kind, seed): trained(args, train, kind, seed) for kind in ("tables", "no tables") for seed in args.seeds
    }
    rows = []
    for policy, (kind, settings) in POLICIES.items():
        row: dict[str, Any] = {"policy": policy, "AP": {}, "AP50": {}}
        for scale, yaml_file in data.items():
            found = [
                MOAT(str(detectors[kind, seed])).val(
                    data=str(yaml_file),
                    imgsz=scale * args.size,
                    batch=1,
                    plots=False,
                    project=str(args.out / "val"),
                    name=f"{kind}-{seed}-{scale}x".replace(" ", "-"),
                    **settings,
                )
                for seed in args.seeds
            ]
            row["AP"][scale] = [metrics.AP for metrics in found]
            row["AP50"][scale] = [metrics.AP50 for metrics in found]
        rows.append(row)
    return rows


def larger(args: argparse.Namespace, scale: int) -> Path:
    """Draw validation parts of `scale` times the side; the single training image is not used."""
    side = scale * args.size
    return generate_demo(args.out / f"val-{scale}x", 1, args.val, (side, side), seed=1)


def trained(args: argparse.Namespace, data: Path, kind: str, seed: int) -> Path:
    """Give the checkpoint of a detector with or without position tables; trained unless it is there."""
    run = args.out / "runs" / f"{kind}-{seed}".replace(" ", "-")
    best = best_checkpoint(run)
    if (run / "metrics.json").exists():  # the last thing that a training writes
        return best
    config = load_config(args.backbone)
    config["backbone"] = {**config["backbone"], "position_embedding": kind == "tables"}
    shape = args.out / f"{kind}.yaml".replace(" ", "-")
    atomic_write_text(shape, yaml.safe_dump(config, sort_keys=False))
    MOAT(shape).train(
        data=str(data),
        imgsz=args.size,
        epochs=args.epochs,
        seed=seed,
        project=str(run.parent),
        name=run.name,
        exist_ok=True,
        plots=False,
    )
    return best


def markdown(rows: list[dict[str, Any]], scales: list[int]) -> str:
    """Write the table: for each policy and scale the mean AP over the seeds, and their spread."""
    lines = ["| policy | " + " | ".join(f"AP at {scale}x" for scale in scales) + " |", "|---" * (len(scales) + 1) + "|"]
    for row in rows:
        cells = []
        for scale in scales:
            values = row["AP"][scale]
            cells.append(f"{sum(values) / len(values):.3f} ({min(values):.3f} to {max(values):.3f})")
        lines.append(f"| {row['policy']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
