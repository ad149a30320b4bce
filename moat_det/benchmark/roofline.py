"""What bounds each part of a detector: its operations, or the bytes that it moves.

The roofline model (Williams et al., doi 10.1145/1498765.1498785). The machine's two limits are measured: a matrix
product for its operations, a copy for its memory. A part takes no less than its operations at the one; nor than its
bytes at the other, unless its maps stay in the cache.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from moat_det.backbones.moat.attention import Attention
from moat_det.backbones.moat.backbone import MOATBackbone
from moat_det.benchmark import tables
from moat_det.benchmark.cases import DetectorCase
from moat_det.benchmark.passes import build, random_images
from moat_det.detector.base import BaseDetector

_SIDE = 2048  # of the matrices whose product is timed
_COPIED = 256 * 2**20  # bytes, more than any cache holds
_REPEATS = 5
_REST = "rest"


@dataclass(frozen=True)
class Limits:
    """What the machine does at most.

    Attributes:
        flops: Floating-point operations a second, of a matrix product.
        bandwidth: Bytes a second that are read or written, of a copy.
    """

    flops: float
    bandwidth: float


@dataclass(frozen=True)
class Part:
    """A part of a detector in a pass.

    Attributes:
        name: Of the part.
        flops: Floating-point operations of its convolutions and matrix products.
        moved: Bytes that its kernels read and write, each by itself.
        seconds: What it took in torch.
    """

    name: str
    flops: int
    moved: int
    seconds: float

    def record(self, limits: Limits) -> dict[str, Any]:
        """Give it as a flat mapping, beside what the machine would let it take."""
        compute, memory = self.flops / limits.flops, self.moved / limits.bandwidth
        return {
            "part": self.name,
            "gflop": self.flops / 1e9,
            "mib": self.moved / 2**20,
            "flop_per_byte": self.flops / max(self.moved, 1),
            "compute_ms": 1e3 * compute,
            "memory_ms": 1e3 * memory,
            "bound": "compute" if compute > memory else "memory",
            "torch_ms": 1e3 * self.seconds,
        }


def roofline(case: DetectorCase, threads: int, repeats: int) -> tuple[Limits, list[Part]]:
    """Measure the machine, and a detector part by part.

    Args:
        case: Of torch, on a CPU.
        threads: To compute with.
        repeats: Passes whose median counts.
    """
    torch.set_num_threads(threads)
    model, images = build(case), random_images(case)
    return measure_limits(model.dtype), measure_parts(model, images, repeats)


def measure_limits(dtype: torch.dtype, side: int = _SIDE, copied: int = _COPIED) -> Limits:
    """Measure what the machine does at most in a number format.

    Args:
        dtype: The format.
        side: Of the square matrices.
        copied: Bytes.
    """
    a, b = (torch.ones(side, side, dtype=dtype) for _ in range(2))
    source, target = (torch.ones(copied, dtype=torch.uint8) for _ in range(2))
    product, copy = _time(lambda: torch.mm(a, b)), _time(lambda: target.copy_(source))
    return Limits(2 * side**3 / product, 2 * copied / copy)


def measure_parts(model: BaseDetector, images: Tensor, repeats: int) -> list[Part]:
    """Count and time the parts of a model, in the order in which they come first."""
    clock, counter = _Clock(), _Counter()
    with torch.no_grad():
        with _follow(model, counter), counter:
            model(images)
        with _follow(model, clock):
            for _ in range(repeats + 1):
                clock.start()
                model(images)
                clock.stop()
    return [
        Part(name, flops, counter.moved[name], median(clock.passes[name][1:])) for name, flops in counter.flops.items()
    ]


def table(limits: Limits, parts: Sequence[Part]) -> str:
    """Give a Markdown table with a sum, the limits in a line above it."""
    whole = Part("all", *(sum(getattr(part, name) for part in parts) for name in ("flops", "moved", "seconds")))
    records = [part.record(limits) for part in (*parts, whole)]
    cells = [[value if isinstance(value, str) else f"{value:.3g}" for value in record.values()] for record in records]
    heading = ("part", "GFLOP", "MiB", "FLOP / byte", "compute [ms]", "memory [ms]", "bound", "in torch [ms]")
    return f"this machine: {limits.flops / 1e9:.0f} GFLOP/s, {limits.bandwidth / 1e9:.1f} GB/s\n\n" + tables.markdown(
        heading, cells
    )


class _Stack:
    """Knows in which part the pass is.

    Attributes:
        names: Of the parts that it is in, the innermost last.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names = [_REST]

    def enter(self, name: str) -> None:
        self.names.append(name)

    def leave(self) -> None:
        self.names.pop()


class _Counter(_Stack, TorchDispatchMode):
    """Counts operations and bytes by part."""

    def __init__(self) -> None:
        super().__init__()
        self.flops: dict[str, int] = defaultdict(int)
        self.moved: dict[str, int] = defaultdict(int)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func._overloadpacket)
        if formula is None:
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        name = self.names[-1]
        self.flops[name] += formula(*args, **kwargs, out_val=result) if formula is not None else 0
        if not func.is_view:
            tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
            # A view may show the same bytes many times.
            self.moved[name] += sum(min(tensor.nbytes, tensor.untyped_storage().nbytes()) for tensor in tensors)
        return result


class _Clock(_Stack):
    """Takes the time of each part, without that of the parts in it.

    Attributes:
        passes: By part, the seconds of each pass.
    """

    def __init__(self) -> None:
        super().__init__()
        self.passes: dict[str, list[float]] = defaultdict(list)
        self._seconds: dict[str, float] = {}
        self._since = 0.0

    def start(self) -> None:
        self._seconds, self._since = defaultdict(float), time.perf_counter()

    def stop(self) -> None:
        self._count()
        for name, seconds in self._seconds.items():
            self.passes[name].append(seconds)

    def enter(self, name: str) -> None:
        self._count()
        super().enter(name)

    def leave(self) -> None:
        self._count()
        super().leave()

    def _count(self) -> None:
        now = time.perf_counter()
        self._seconds[self.names[-1]] += now - self._since
        self._since = now


def _parts(model: BaseDetector) -> Iterator[tuple[str, nn.Module]]:
    """Name the parts of a model, some of which lie in others."""
    backbone = model.backbone
    if isinstance(backbone, MOATBackbone):
        yield "stem", backbone.stem
        for number, stage in enumerate(backbone.stages, 2):
            yield f"stage {number}", stage
            yield from ((f"stage {number}: attention", part) for part in stage.modules() if isinstance(part, Attention))
        yield "neck", model.model[2]
    elif backbone is not None:
        yield "backbone", backbone
    yield "head", model.model[-1]


@contextmanager
def _follow(model: BaseDetector, stack: _Stack) -> Iterator[None]:
    """Tell a stack of every part that the pass enters and leaves."""
    hooks = []
    for name, module in _parts(model):
        hooks.append(module.register_forward_pre_hook(lambda *_, name=name: stack.enter(name)))
        hooks.append(module.register_forward_hook(lambda *_: stack.leave()))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _time(run: Callable[[], object]) -> float:
    """Give the seconds of the fastest of a few runs: a limit is what can be reached."""
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
