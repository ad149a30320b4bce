"""Time of a training step: number format, layout, memory kept or not, gradients, attention, and threads.

Each measurement is a process of its own, since a process keeps its threads and its memory; the settings take turns. A
step is forward and backward of the whole detector on noise. Run it on an idle machine: with --beside N it makes the
other work itself, N processes that multiply matrices.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any
from unittest import mock

import torch
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves

from moat_det import MOAT
from moat_det.allocator import keep_freed_memory
from moat_det.backbones import few_tokens
from moat_det.backbones.moat import layers
from moat_det.backbones.timm import strided
from moat_det.cores import SPINS
from moat_det.detector.build import find_config
from moat_det.errors import UserError
from moat_det.progress import progress
from tools.command import command, make_parser
from tools.measuring import medians, run_tool

_BUSY = "import os; os.environ['OMP_NUM_THREADS'] = '1'; import numpy as n; a = n.ones((700, 700))\nwhile True: a @ a"


@dataclass(frozen=True)
class Setting:
    """How a model's steps are computed; what is not named is as `moat train` has it.

    Attributes:
        model: A backbone's name, or a model YAML.
        dtype: "bfloat16" or "float32".
        layout: "channels_last" or "contiguous_format".
        memory: Whether freed memory is kept.
        gradient: Of strided depthwise convolutions: "ours" or "oneDNN's".
        attention: Among few tokens: "ours" or "fused", torch's kernel.
        threads: Of the step.
        waiting: What threads do while they wait: "as built", "briefly" as in `moat train`, "passive" or "active"
            (OMP_WAIT_POLICY).
    """

    model: str
    dtype: str = "bfloat16"
    layout: str = "channels_last"
    memory: bool = True
    gradient: str = "ours"
    attention: str = "ours"
    threads: int = 1
    waiting: str = "briefly"

    def words(self) -> str:
        """Say what is other than in `moat train`."""
        plain = Setting(self.model)
        changed = {name: value for name, value in asdict(self).items() if value != getattr(plain, name)}
        said = {
            "memory": "memory given back",
            "gradient": "oneDNN's gradient",
            "attention": "fused attention",
            "threads": f"{self.threads} threads",
            "waiting": f"waiting {self.waiting}",
        }
        return ", ".join(said.get(name, str(value)) for name, value in changed.items()) or "as in moat train"


def formats_of(model: str) -> list[Setting]:
    """Give the settings that show what number format, layout, memory and gradient are worth."""
    settings = []
    for dtype in ("bfloat16", "float32"):
        base = Setting(model, dtype)
        settings += [base, replace(base, layout="contiguous_format"), replace(base, memory=False)]
        if dtype == "bfloat16":
            settings += [replace(base, gradient="oneDNN's")]
    return settings


def threads_of(model: str) -> list[Setting]:
    """Give the settings that show what threads and their waiting are worth."""
    base = Setting(model)
    cores = os.cpu_count() or 1
    return [base, *(replace(base, threads=cores, waiting=how) for how in ("as built", "briefly", "passive", "active"))]


def attention_of(model: str) -> list[Setting]:
    """Give the settings that show what attention by the textbook is worth among few tokens."""
    return [Setting(model), Setting(model, attention="fused")]


_KINDS = {"formats": formats_of, "threads": threads_of, "attention": attention_of}


def time_steps(setting: Setting, imgsz: int, batch: int, steps: int) -> dict[str, float]:
    """Time steps after a first one in this process.

    Returns:
        Median seconds of a step by the clock, `wall`, and of the processor, `cpu`.
    """
    torch.set_num_threads(setting.threads)
    if setting.memory:
        keep_freed_memory()
    model: Any = MOAT(setting.model).model.train()
    model.requires_grad_(True)
    model.dtype = getattr(torch, setting.dtype)
    model.to(memory_format=getattr(torch, setting.layout))
    x = torch.rand(batch, 3, imgsz, imgsz)
    wall, cpu = [], []
    few = few_tokens.FEW if setting.attention == "ours" else 0
    with _gradient(setting.gradient), _layout(setting.layout), mock.patch.object(few_tokens, "FEW", few):
        for _ in range(steps + 1):
            start = time.perf_counter(), time.process_time()
            outputs = [out for out in tree_leaves(model(x)) if isinstance(out, torch.Tensor) and out.requires_grad]
            sum(out.float().square().mean() for out in outputs).backward()  # type: ignore[union-attr]
            model.zero_grad(set_to_none=True)
            wall.append(time.perf_counter() - start[0])
            cpu.append(time.process_time() - start[1])
    return {"wall": statistics.median(wall[1:]), "cpu": statistics.median(cpu[1:])}


@contextlib.contextmanager
def _gradient(whose: str) -> Iterator[None]:
    def plain(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, groups: int) -> Any:
        return F.conv2d(x, weight, bias, stride, padding, groups=groups)

    with contextlib.ExitStack() as stack:
        for module in (layers, strided) if whose != "ours" else ():
            stack.enter_context(mock.patch.object(module, "strided_conv2d", plain))
        yield


@contextlib.contextmanager
def _layout(name: str) -> Iterator[None]:
    """Keep the detector from bringing its input into channels_last."""
    if name == "channels_last":
        yield
        return
    contiguous = torch.Tensor.contiguous

    def as_it_is(tensor: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return contiguous(tensor)

    with mock.patch.object(torch.Tensor, "contiguous", as_it_is):
        yield


def measure(settings: Sequence[Setting], words: argparse.Namespace) -> list[dict[str, float]]:
    """Measure all settings in turns, each in a process of its own; gives the medians, one for each setting."""
    found: list[list[dict[str, float]]] = [[] for _ in settings]
    for turn in progress(range(words.turns * len(settings)), "measurements"):
        setting = settings[turn % len(settings)]
        job = {**vars(words), "setting": asdict(setting)}
        environment = {"OMP_NUM_THREADS": str(setting.threads)}
        if setting.waiting == "briefly":
            environment["GOMP_SPINCOUNT"] = str(SPINS)
        elif setting.waiting != "as built":
            environment["OMP_WAIT_POLICY"] = setting.waiting
        found[turn % len(settings)].append(run_tool("measure_steps", "--job", json.dumps(job), **environment))
    return [medians(rows) for rows in found]


@contextlib.contextmanager
def _beside(count: int) -> Iterator[None]:
    busy = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def _check(words: argparse.Namespace) -> None:
    """Refuse what a measurement could not run with, before the first one starts."""
    for model in words.models:
        find_config(model)
    if words.imgsz < 32 or words.imgsz % 32:
        raise UserError(f"--imgsz {words.imgsz}: must be a multiple of 32")
    for name, least in {"batch": 2, "steps": 1, "turns": 1, "beside": 0}.items():
        if getattr(words, name) < least:
            raise UserError(f"--{name} {getattr(words, name)}: must be {least} or more")


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print a table in Markdown."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--models", nargs="+", default=["tiny_moat0"], help="backbones' names, or model YAMLs")
    parser.add_argument("--imgsz", type=int, default=224, help="pixels of a side")
    parser.add_argument("--batch", type=int, default=16, help="images of a step")
    parser.add_argument("--steps", type=int, default=3, help="timed steps of a measurement")
    parser.add_argument("--turns", type=int, default=3, help="measurements of a setting")
    parser.add_argument("--what", choices=tuple(_KINDS), default="formats", help="what to compare")
    parser.add_argument("--beside", type=int, default=0, help="busy processes beside it")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    words = parser.parse_args(argv)
    if words.job:
        job = json.loads(words.job)
        print(json.dumps(time_steps(Setting(**job["setting"]), job["imgsz"], job["batch"], job["steps"])))
        return 0
    _check(words)
    settings = [setting for model in words.models for setting in _KINDS[words.what](model)]
    with _beside(words.beside):
        rows = measure(settings, words)
    print("| model | setting | s a step | of the first | processor's s |\n|---|---|---|---|---|")
    for setting, row in zip(settings, rows, strict=True):
        first = rows[next(i for i, other in enumerate(settings) if other.model == setting.model)]
        share = row["wall"] / first["wall"]
        print(f"| {setting.model} | {setting.words()} | {row['wall']:.3f} | {share:.2f} | {row['cpu']:.3f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
