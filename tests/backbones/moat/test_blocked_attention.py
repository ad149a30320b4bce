"""Attention in blocks against the plain form, and the memory that it takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from moat_det.backbones.moat.attention import attend, attend_plain
from moat_det.backbones.moat.blocked_attention import blocked_attention, blocked_attention_backward

STATUS = Path("/proc/self/status")
Inputs = tuple[Tensor, Tensor, Tensor, Tensor]


def inputs(size: tuple[int, int], heads: int = 2, batch: int = 1, dtype: torch.dtype = torch.float64) -> Inputs:
    """Queries, keys and values as linear layers give them, and a table; all of them want gradients."""
    h, w = size
    torch.manual_seed(h * 100 + w)
    leaves = [torch.randn(batch, h * w, heads, 32, dtype=dtype).transpose(1, 2) for _ in range(3)]
    table = torch.randn(heads, 2 * h - 1, 2 * w - 1, dtype=torch.promote_types(dtype, torch.float32))
    q, k, v, table = (x.requires_grad_() for x in (*leaves, table))
    return q, k, v, table


def assert_equal(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...], tolerance: float) -> None:
    """Differences relative to the largest value of each."""
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= tolerance * max(1, b.abs().max())


def outputs_and_gradients(form: object, tensors: Inputs, *arguments: object) -> tuple[Tensor, ...]:
    out = form(*tensors, *arguments)  # type: ignore[operator]
    torch.manual_seed(0)
    grad = torch.randn(out.shape).bfloat16().to(out.dtype)  # the same numbers in any format
    return out, *torch.autograd.grad(out, tensors, grad)


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    heads=st.integers(1, 3),
    batch=st.integers(1, 3),
    budgets=st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)),
    double=st.booleans(),
)
def test_equals_the_plain_form(
    size: tuple[int, int], heads: int, batch: int, budgets: tuple[int, int], double: bool
) -> None:
    """Output and every gradient, however the map is cut into blocks."""
    tensors = inputs(size, heads, batch, torch.float64 if double else torch.float32)
    ours = outputs_and_gradients(blocked_attention, tensors, *size, *budgets)
    assert_equal(ours, outputs_and_gradients(attend_plain, tensors, size), 1e-10 if double else 1e-5)


@pytest.mark.parametrize("size", [(1, 300), (300, 1), (37, 23), (40, 40)])
def test_equals_the_plain_form_with_the_budgets_of_use(size: tuple[int, int]) -> None:
    tensors = inputs(size, heads=4, dtype=torch.float32)
    theirs = outputs_and_gradients(attend_plain, tensors, size)
    assert_equal(outputs_and_gradients(attend, tensors, size), theirs, 1e-5)
    with torch.inference_mode():
        assert_equal((attend(*tensors, size),), theirs[:1], 1e-5)


def test_gradients_are_the_same_each_time() -> None:
    tensors = inputs((14, 9), heads=3, batch=2, dtype=torch.float32)
    first = outputs_and_gradients(blocked_attention, tensors, 14, 9, 20_000, 20_000)
    second = outputs_and_gradients(blocked_attention, tensors, 14, 9, 20_000, 20_000)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_gradients_by_finite_differences() -> None:
    tensors = tuple(x.detach()[..., :4].requires_grad_() for x in inputs((2, 3))[:3])
    table = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *x: blocked_attention(*x, 2, 3, 100, 100), (*tensors, table))


@pytest.mark.parametrize("views", [True, False])
def test_a_copied_bias_and_a_view_of_it_are_the_same(views: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU copies it, a few rows of queries at a time."""
    monkeypatch.setattr("moat_det.backbones.moat.blocked_attention._reads_views", lambda device: views)
    q, k, v, table = (x.detach() for x in inputs((9, 7), heads=3, batch=2))
    for budget in (100, 3_000, 20_000, 1 << 20):
        assert_equal((blocked_attention(q, k, v, table, 9, 7, budget),), (attend_plain(q, k, v, table, (9, 7)),), 1e-10)


def test_bfloat16_is_as_good_as_its_inputs() -> None:
    """Compared with float64 on the same rounded inputs."""
    size = (12, 17)
    low = inputs(size, heads=3, batch=2, dtype=torch.bfloat16)
    exact = tuple(x.detach().double().requires_grad_() for x in low)
    ours, theirs = outputs_and_gradients(attend, low, size), outputs_and_gradients(attend_plain, exact, size)
    assert [x.dtype for x in ours] == [torch.bfloat16] * 4 + [torch.float32]
    assert_equal(tuple(x.double() for x in ours), theirs, 1e-2)


def test_the_operator_keeps_its_promises() -> None:
    """Its schema, its shapes without data, its gradients and how it traces (what `torch.compile` relies on)."""
    q, k, v, table = inputs((2, 3))
    torch.library.opcheck(blocked_attention, (q, k, v, table, 2, 3))
    torch.library.opcheck(blocked_attention, (q.contiguous(), k, v, table, 2, 3))
    low = [x.detach().bfloat16() for x in (q, q, k, v)]
    backward = blocked_attention_backward, (*low, table.detach().float(), low[0], 2, 3, None)
    torch.library.opcheck(*backward, test_utils=("test_schema", "test_faketensor"))


MEMORY = """
import torch
from pathlib import Path
from moat_det.backbones.moat.attention import attend
torch.set_num_threads(1)
def run(side, trains, heads=2):
    q, k, v = (torch.randn(1, side * side, heads, 32).transpose(1, 2).requires_grad_(trains) for _ in range(3))
    table = torch.randn(heads, 2 * side - 1, 2 * side - 1, requires_grad=trains)
    with torch.inference_mode(not trains):
        out = attend(q, k, v, table, (side, side))
    if trains:
        out.sum().backward()
def peak():
    # not by getrusage, which counts what the process had before its exec: all of pytest
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
run(8, True)  # what libraries take once
before = peak()
run(80, False)
print(peak() - before)
run(80, True)
print(peak() - before)
"""


@pytest.mark.skipif(not STATUS.exists(), reason="the peak of a process is read from Linux's /proc")
def test_memory_is_far_below_that_of_all_pairs() -> None:
    """At 80 x 80 cells a matrix of all pairs of cells takes 156 MiB per head, and there are two heads."""
    run = subprocess.run([sys.executable, "-c", MEMORY], check=True, capture_output=True, text=True)
    inference, training = (float(line) for line in run.stdout.split())
    print(f"inference {inference:.0f} MiB, training {training:.0f} MiB")
    assert inference < 60
    assert training < 120
