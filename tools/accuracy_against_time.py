"""Draw the AP of models against the time of an image, from what `moat bench` and `moat benchmark` have measured.

The first trains and tests at one image size a call, the second measures exported files at several: a point is a model
at a size that both have.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from moat_det.benchmark import tables
from moat_det.errors import UserError
from moat_det.files import atomic_path, atomic_write_text
from tools.command import command, make_parser


@dataclass(frozen=True)
class Point:
    """A model at an image size.

    Attributes:
        model: Its name.
        imgsz: The side of its images in pixels.
        seeds: How many trainings.
        ap: Mean over them, 0 to 1.
        ap50: The same at IoU 0.5.
        seconds: Median of a pass.
    """

    model: str
    imgsz: str
    seeds: int
    ap: float
    ap50: float
    seconds: float


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = make_parser((__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--bench", type=Path, nargs="+", required=True, help="folders of moat bench, an image size each"
    )
    parser.add_argument("--times", type=Path, required=True, help="folder of moat benchmark")
    parser.add_argument("--set", required=True, help="the dataset's name in moat bench")
    parser.add_argument("--format", default="openvino", help="of the times")
    parser.add_argument("--dtype", default="float32", help="of the times")
    parser.add_argument("--window", default="full", help="of our models in the times")
    parser.add_argument("--out", type=Path, required=True, help="the PNG; the table goes beside it as .md")
    args = parser.parse_args(argv)
    seconds = read_times(args.times, args.format, args.dtype, args.window)
    points = [point for folder in args.bench for point in read_points(folder, args.set, seconds)]
    if not points:
        raise UserError(f"{args.times}: has no time of a model and size that {args.bench[0]} has the AP of")
    points.sort(key=lambda point: point.seconds)
    text = tables.markdown(
        ["model", "px", "seeds", "AP", "AP50", "time [ms]"],
        [[p.model, p.imgsz, str(p.seeds), f"{p.ap:.3f}", f"{p.ap50:.3f}", f"{1e3 * p.seconds:.1f}"] for p in points],
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_text(args.out.with_suffix(".md"), text + "\n")
    draw(args.out, points, f"{args.set}; {args.format}, {args.dtype}")
    print(text)
    return 0


def read_times(folder: Path, format: str, dtype: str, window: str) -> dict[tuple[str, str], float]:
    """Give the seconds of a pass by model and side, of `benchmark.json`.

    Raises:
        UserError: It is not there, or none of its rows is of this kind.
    """
    found = {
        (Path(row["model"]).stem, row["imgsz"]): row["seconds"]
        for row in _read(folder / "benchmark.json")["rows"]
        if (row["format"], row["dtype"], row["mode"]) == (format, dtype, "forward")
        and row["window"] in (window, "-")
        and row["seconds"]
    }
    if not found:
        raise UserError(f"{folder / 'benchmark.json'}: has no time of {format} in {dtype} with window {window}")
    return found


def read_points(folder: Path, name: str, seconds: dict[tuple[str, str], float]) -> list[Point]:
    """Give the models of a `bench.json` that have a time.

    Raises:
        UserError: It is not there.
    """
    content = _read(folder / "bench.json")
    imgsz = str(content["recipe"]["imgsz"])
    points = []
    for model in content["models"]:
        key = (Path(model["model"]).stem, imgsz)
        if model["set"] == name and model["tested"] == "whole" and model["AP"] and key in seconds:
            ap, ap50 = model["AP"], model["AP50"]
            points.append(Point(*key, ap["seeds"], ap["mean"], ap50["mean"], seconds[key]))
    return points


def draw(path: Path, points: Sequence[Point], title: str) -> None:
    """Draw a line for each model through its sizes, as PNG."""
    figure = Figure(figsize=(6.5, 5.0), layout="constrained")
    axes = figure.subplots()
    for number, model in enumerate(sorted({point.model for point in points})):
        own = [point for point in points if point.model == model]
        axes.plot([1e3 * p.seconds for p in own], [p.ap for p in own], marker="o", color=f"C{number}", label=model)
        for p in own:
            axes.annotate(p.imgsz, (1e3 * p.seconds, p.ap), xytext=(5, -10), textcoords="offset points", fontsize=8)
    axes.margins(0.1)
    axes.set(xscale="log", xlabel="time of an image [ms]", ylabel="AP", title=title)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(which="both", alpha=0.3)
    axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{file} is not there: give the folder that the command wrote") from None


if __name__ == "__main__":
    raise SystemExit(main())
