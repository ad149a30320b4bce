"""What the models of a comparison cost: parameters, operations, time and memory of an image."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from moat_det.benchmark.accuracy.runs import Run, digest, short_name
from moat_det.benchmark.cases import DTYPES, NONE, WHOLE, DetectorCase
from moat_det.benchmark.flops import count_flops
from moat_det.benchmark.runner import run_case
from moat_det.benchmark.sliced import count_passes
from moat_det.data.sizes.shape import Shape
from moat_det.engine.checkpoint import Checkpoint, load_checkpoint
from moat_det.engine.device import choose_device
from moat_det.files import atomic_write_json

BUSY = 25.0
"""Per cent of the processors that other work may have while times are measured; above it they are marked."""

_REPEATS = 5


@dataclass(frozen=True)
class Cost:
    """What a model costs on an image: of the shape that it was trained at, or in tiles, of the test's median shape.

    Attributes:
        parameters: Of the model as it is trained.
        flops: Floating-point operations of an image (see `count_flops`), in tiles of all its tiles.
        seconds: Median time of an image from bytes to boxes before their suppression, or in tiles with all that belongs
            to it; None where it was not measured.
        memory_mib: What it needs at its peak, beside the model itself; None where it was not measured.
        case: How time and memory were measured.
        threads: Of that process.
        busy: Whether other work ran meanwhile, so that the time says little.
        error: Why time and memory are missing.
    """

    parameters: int
    flops: int
    seconds: float | None = None
    memory_mib: float | None = None
    case: dict[str, Any] | None = None
    threads: int = 0
    busy: bool = False
    error: str = ""


def cost_of(run: Run, tiles: int | None, threads: int, folder: Path, timed: bool) -> Cost:
    """Give what the model of a trained run costs, measured unless it is there already.

    Times that were taken while the machine was busy are taken again.

    Args:
        run: Trained.
        tiles: Side of the tiles in pixels, or None for whole images.
        threads: Of the measuring process.
        folder: Where what was measured is kept.
        timed: Measure time and memory too.
    """
    checkpoint = load_checkpoint(run.best)
    shape = checkpoint.trained.size if tiles is None else (tiles, tiles)
    assert shape is not None, "a trained checkpoint knows its size"
    case = _case(run, shape, tiles, checkpoint)
    key = {"config": run.settings["config"], "case": asdict(case), "threads": threads}
    file = folder / f"{short_name(run.model)}-{digest(key)}.json"
    known = Cost(**json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None
    if known is not None and (not timed or (known.seconds is not None and not known.busy)):
        return known
    if known is None:
        model = checkpoint.build()
        parameters = sum(parameter.numel() for parameter in model.parameters())
        passes = 1 if tiles is None else count_passes(*run.set.size, tiles)
        known = Cost(parameters, passes * count_flops(model, *shape, checkpoint.channels))
    if timed:
        busy = _machine_is_busy()
        row = run_case(case, _REPEATS, threads)
        busy = busy or _machine_is_busy()
        known = replace(
            known,
            seconds=row.seconds,
            memory_mib=row.growth,
            case=asdict(case),
            threads=threads,
            busy=busy,
            error=row.error,
        )
    atomic_write_json(file, asdict(known), indent=2)
    return known


def _machine_is_busy() -> bool:
    return psutil.cpu_percent(1.0) > BUSY


def _case(run: Run, shape: Shape, tiles: int | None, checkpoint: Checkpoint) -> DetectorCase:
    """Say what is measured: the model on one image, in the number format that it is used in."""
    dtype = run.dtype_with(checkpoint.args["amp"], training=False)
    height, width = shape if tiles is None else run.set.size
    return DetectorCase(
        model=run.model,
        imgsz=f"{height}x{width}",
        tiles=WHOLE if tiles is None else str(tiles),
        window=NONE,
        norms="folded",
        dtype=dtype if dtype in DTYPES else "float32",
        mode="forward",
        recompute=NONE,
        batch=1,
        device=choose_device(run.arguments.get("device")).type,
        classes=len(checkpoint.names),
        channels=checkpoint.channels,
    )
