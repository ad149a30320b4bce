"""The pass of attention alone: the blocked form that the models use, or the plain one with its matrix of all pairs."""

from __future__ import annotations

from collections.abc import Callable

import torch

from moat_det.backbones.moat.attention import attend, attend_plain
from moat_det.backbones.moat.variants import HEAD_SIZE, POSITION_SIZES
from moat_det.backbones.position_bias import fit_table
from moat_det.benchmark.cases import AttentionCase, parse_size


def attention_pass(case: AttentionCase) -> Callable[[], object]:
    """Set up queries, keys, values and a position table, and return a function that runs the pass."""
    size = parse_size(case.cells)
    torch.manual_seed(0)
    trains = case.mode == "train"
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[case.dtype]
    # As a linear layer gives them: the heads side by side in each cell.
    shape = (case.batch, size[0] * size[1], case.heads, HEAD_SIZE)
    qkv = [torch.randn(shape, dtype=dtype, device=case.device, requires_grad=trains) for _ in range(3)]
    side = 2 * POSITION_SIZES[2] - 1
    table = torch.randn(case.heads, side, side, device=case.device, requires_grad=trains)
    form = attend_plain if case.form == "plain" else attend

    def run() -> None:
        with torch.inference_mode(not trains):
            q, k, v = (tensor.transpose(1, 2) for tensor in qkv)
            out = form(q, k, v, fit_table(table, size), size)
        if trains:
            out.sum().backward()
            for tensor in (*qkv, table):
                tensor.grad = None

    return run
