"""The tables of a comparison: Markdown to read, CSV and JSON to go on with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from moat_det.benchmark import tables
from moat_det.benchmark.accuracy.costs import Cost
from moat_det.benchmark.accuracy.runs import Run, short_name
from moat_det.benchmark.accuracy.sets import CHOOSING_SHARE, BenchSet
from moat_det.benchmark.machine import machine, versions
from moat_det.evaluation import STATS
from moat_det.files import atomic_write_csv, atomic_write_json, atomic_write_text

NONE = "-"
"""Stands for a figure that is not there."""


@dataclass(frozen=True)
class Entry:
    """A model on a set, tested in one way, with all its seeds.

    Attributes:
        model: Its name.
        set: The set's name.
        tiles: Side of the tiles in pixels, or None for whole images.
        results: By seed, the content of the test's `metrics.json`; None where it failed or is not there yet.
        cost: What the model costs; None where nothing of it is trained.
        dtypes: By seed, the number format that it trained in, of those that are trained.
    """

    model: str
    set: str
    tiles: int | None
    results: Mapping[int, Mapping[str, Any] | None]
    cost: Cost | None
    dtypes: Mapping[int, str] = field(default_factory=dict)

    @property
    def tested(self) -> str:
        """How it was tested."""
        return "whole" if self.tiles is None else f"tiles of {self.tiles}"

    def values(self, figure: str) -> list[float]:
        """Give a figure of the test by seed, of those that are there and measured something."""
        return [result[figure] for result in self.results.values() if result is not None and result[figure] >= 0]


def entries(
    runs: Sequence[Run], ways: Sequence[int | None], costs: Mapping[tuple[str, str, int | None], Cost]
) -> list[Entry]:
    """Gather the runs of each model on each set, as they were tested.

    Args:
        runs: All of the comparison.
        ways: Sides of tiles, and None for whole images.
        costs: By model, as the user wrote it, set and way.
    """
    found: dict[tuple[str, str, int | None], dict[int, Mapping[str, Any] | None]] = {}
    dtypes: dict[tuple[str, str], dict[int, str]] = {}
    for run in sorted(runs, key=lambda run: run.set.name):
        mine = dtypes.setdefault((run.model, run.set.name), {})
        if dtype := run.dtype:
            mine[run.seed] = dtype
        for tiles in ways:
            found.setdefault((run.model, run.set.name, tiles), {})[run.seed] = run.metrics(tiles)
    return [
        Entry(short_name(model), name, tiles, results, costs.get((model, name, tiles)), dtypes[model, name])
        for (model, name, tiles), results in found.items()
    ]


def markdown(found: Sequence[Entry], sets: Sequence[BenchSet]) -> str:
    """Give a table for each set, with what its test is in a line above it."""
    parts = []
    for each in sets:
        mine = [entry for entry in found if entry.set == each.name]
        rows = sorted(mine, key=lambda entry: -mean(entry.values("AP") or [-1.0]))
        table = tables.markdown(_HEADING, [_cells(entry) for entry in rows])
        parts.append("\n\n".join([f"**{each.name}**: {_describe(each)}", table, *_remarks(mine)]))
    return "\n\n".join(parts) + "\n"


_HEADING = (
    "model",
    "tested",
    "seeds",
    "AP, mean",
    "AP, lowest to highest",
    "AP50, mean",
    "AP50, lowest to highest",
    "parameters",
    "FLOPs",
    "time of an image",
    "peak memory",
)


def _describe(each: BenchSet) -> str:
    counts = each.images
    own = f"the data's `{each.test_from}`, {counts['test']} images, is the test"
    if each.test_from == "test":
        return f"{own}; {counts['train']} images train, {counts['val']} choose the checkpoint"
    return (
        f"{own}; of its `train`, {counts['train']} images train and {counts['val']} "
        f"({CHOOSING_SHARE:.0%}) choose the checkpoint"
    )


def _cells(entry: Entry) -> list[str]:
    cells = [entry.model, entry.tested, f"{len(entry.values('AP'))} of {len(entry.results)}"]
    for figure in ("AP", "AP50"):
        values = entry.values(figure)
        cells += [f"{mean(values):.3f}", f"{min(values):.3f} to {max(values):.3f}"] if values else [NONE, NONE]
    cost = entry.cost
    if cost is None:
        return [*cells, NONE, NONE, NONE, NONE]
    time = NONE if cost.seconds is None else f"{'~' if cost.busy else ''}{1e3 * cost.seconds:.1f} ms"
    memory = NONE if cost.memory_mib is None else f"{cost.memory_mib:.0f} MiB"
    return [*cells, f"{cost.parameters / 1e6:.1f} M", f"{cost.flops / 1e9:.1f} G", time, memory]


def _remarks(found: Sequence[Entry]) -> list[str]:
    """Say what is missing, which times say little, and who trained in which number format where that differs."""
    remarks = []
    if missing := [
        f"{entry.model} ({seed})" for entry in found for seed, result in entry.results.items() if not result
    ]:
        remarks.append(f"Not trained or not tested yet, model (seed): {', '.join(dict.fromkeys(missing))}.")
    of_dtype: dict[str, dict[str, None]] = {}
    for entry in found:
        for seed, dtype in entry.dtypes.items():
            of_dtype.setdefault(dtype, {})[f"{entry.model} ({seed})"] = None
    if len(of_dtype) > 1:
        parts = [f"in {dtype}: {', '.join(names)}" for dtype, names in sorted(of_dtype.items())]
        remarks.append(f"Trained {'; '.join(parts)}.")
    costs = [entry.cost for entry in found if entry.cost is not None]
    if any(cost.busy for cost in costs):
        remarks.append("~: other work ran meanwhile, the time says little; the same command measures it again.")
    remarks += [
        f"{entry.model}: not measured: {entry.cost.error}." for entry in found if entry.cost and entry.cost.error
    ]
    return remarks


def records(found: Sequence[Entry]) -> list[dict[str, Any]]:
    """Give a flat mapping for each training and test."""
    rows = []
    for entry in found:
        cost = entry.cost
        shared = {
            "parameters": cost and cost.parameters,
            "flops": cost and cost.flops,
            "seconds": cost and cost.seconds,
            "memory_mib": cost and cost.memory_mib,
            "busy": cost and cost.busy,
        }
        for seed, result in entry.results.items():
            figures = {figure: None if result is None else result[figure] for figure in STATS}
            of_run = {"set": entry.set, "model": entry.model, "tested": entry.tested, "seed": seed}
            rows.append({**of_run, "dtype": entry.dtypes.get(seed), **figures, **shared})
    return rows


def write(
    out: Path, found: Sequence[Entry], sets: Sequence[BenchSet], recipe: Mapping[str, Any], command: Sequence[str]
) -> str:
    """Write `bench.md`, `bench.csv` and `bench.json`, each atomically; gives the content of the first."""
    text = markdown(found, sets)
    atomic_write_text(out / "bench.md", text)
    rows = records(found)
    atomic_write_csv(out / "bench.csv", list(rows[0]), rows)
    content = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": list(command),
        "recipe": dict(recipe),
        "machine": machine(gpu=any(_on_gpu(entry.cost) for entry in found)),
        "versions": versions(),
        "sets": [{**asdict(each), "yaml_file": str(each.yaml_file)} for each in sets],
        "models": [
            {
                "model": entry.model,
                "set": entry.set,
                "tested": entry.tested,
                **{figure: _spread(entry.values(figure)) for figure in STATS},
                "cost": entry.cost and asdict(entry.cost),
            }
            for entry in found
        ],
        "runs": records(found),
    }
    atomic_write_json(out / "bench.json", content, indent=1)
    return text


def _on_gpu(cost: Cost | None) -> bool:
    return cost is not None and cost.case is not None and cost.case["device"] == "cuda"


def _spread(values: Sequence[float]) -> dict[str, float | int | None]:
    """Give mean, standard deviation (of two or more) and range."""
    if not values:
        return {"mean": None, "std": None, "lowest": None, "highest": None, "seeds": 0}
    return {
        "mean": mean(values),
        "std": stdev(values) if len(values) > 1 else None,
        "lowest": min(values),
        "highest": max(values),
        "seeds": len(values),
    }
