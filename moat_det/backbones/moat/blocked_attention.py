"""Exact attention with a relative position bias, forward and backward, in memory that grows linearly with the map.

The bias of the query in row i and column j to the key in row x and column y is table[x - i + h - 1, y - j + w - 1].
All that the queries of column j can need is therefore a strip of the table, w of its columns from w - 1 - j on, and
with the strip's rows laid end to end

    bias[(i, j), (x, y)] = strip_j[(h - 1 - i) * w + x * w + y]

so that the bias of a query to all h * w keys is h * w consecutive numbers. The bias of a row of queries is then a view
of their strips, and that of all queries is one with the rows from the last to the first: no index table, and nothing of
the size of queries times keys but the block at hand.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import register_flop_formula, sdpa_flop_count

from moat_det.messages import one_line

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Budgets:
    """Bytes of float32 logits that are taken at once.

    Attributes:
        forward: Of a row of queries. The kernel never holds them, but the strips are twice as large.
        backward: Held at once in the backward pass, which goes through them about six times.
        copied: Of which the bias is copied, that of as many rows of queries.
    """

    forward: int
    backward: int
    copied: int


# Forward, four heads fit whole up to 128 x 128 cells; of 256 x 256, 128 columns of one head, enough to do for a few
# cores. Backward they should stay in the cache. The bias of small windows is copied, all of it, which all images share;
# a larger one is read where it lies in the strips.
_CPU = _Budgets(forward=32 << 20, backward=2 << 20, copied=1 << 20)

# A GPU's kernels want much to do; all copy the bias. 256 x 256 cells took 1.9 seconds with the budgets of a CPU, 1 so,
# and 0.3 with four times as much, which the prediction of memory would have to know of.
_GPU = _Budgets(forward=64 << 20, backward=256 << 20, copied=64 << 20)


def _budgets(device: torch.device) -> _Budgets:
    return _GPU if device.type == "cuda" else _CPU


def _parts(heads: int, h: int, w: int, budget: int, copied: int) -> Iterator[tuple[slice, slice, list[slice]]]:
    """Give heads, columns, and blocks of their rows to take at a time, so that float32 logits fit the budget."""
    query = h * w * 4
    columns = min(w, max(1, budget // query))
    together = min(heads, max(1, budget // (query * columns)))
    rows = max(1, min(budget, copied) // (query * columns * together))
    blocks = [slice(top, min(top + rows, h)) for top in range(0, h, rows)]
    for head in range(0, heads, together):
        for left in range(0, w, columns):
            yield slice(head, head + together), slice(left, min(left + columns, w)), blocks


def _strips(table: Tensor, w: int, columns: slice) -> Tensor:
    """Give strips (N, columns, (2h - 1) * w) of a table (N, 2h - 1, 2w - 1)."""
    starts = range(w - 1 - columns.start, w - 1 - columns.stop, -1)
    return torch.stack([table[:, :, start : start + w] for start in starts], 1).flatten(2)


def _add_strips(table: Tensor, strips: Tensor, w: int, columns: slice) -> None:
    """Add what lies in strips to the places of the table that `_strips` takes them from."""
    for strip, column in zip(strips.unbind(1), range(columns.start, columns.stop), strict=True):
        table[:, :, w - 1 - column : 2 * w - 1 - column] += strip.unflatten(1, (-1, w))


def _bias_of_rows(strips: Tensor, block: slice, h: int, w: int) -> list[Tensor]:
    """Give views (N, columns, h * w) of strips, the bias of each row of queries."""
    return [strips[:, :, (h - 1 - row) * w : (2 * h - 1 - row) * w] for row in range(block.start, block.stop)]


@torch.library.custom_op("moat_det::blocked_attention", mutates_args=())
def blocked_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    table: torch.Tensor,
    rows: int,
    columns: int,
    forward_bytes: int | None = None,
    backward_bytes: int | None = None,
) -> torch.Tensor:
    """Attend within maps of rows x columns cells; an operator of its own, so that `torch.compile` leaves it whole.

    On a GPU it is one kernel where that can be built (see `fused_attention`).

    Args:
        q: Queries (B, N, rows * columns, K), not yet scaled by K ** -0.5; keys and values alike.
        k: Keys.
        v: Values.
        table: Bias (N, 2 * rows - 1, 2 * columns - 1) by key minus query.
        rows: Rows of the map.
        columns: Columns of the map.
        forward_bytes: Float32 logits of a row of queries that are taken at once, at least one query of one head; None
            for as many as suit the device.
        backward_bytes: Those that the backward pass holds at once.

    Returns:
        (B, N, rows * columns, K), in memory as (B, rows * columns, N, K).
    """
    if (kernels := _kernels(q)) is not None:
        with torch.cuda.device_of(q):  # triton starts kernels on the current device
            return kernels.fused_attention(q, k, v, table, rows, columns)
    h, w = rows, columns
    budgets = _budgets(q.device)
    out = _empty(q, q.dtype)
    queries, results = q.unflatten(2, (h, w)), out.unflatten(2, (h, w))
    # The CPU's kernel takes a float32 bias with bfloat16 queries, which is more exact; those of GPUs do not.
    dtype = torch.promote_types(q.dtype, torch.float32) if q.device.type == "cpu" else q.dtype
    with torch.autocast(q.device.type, enabled=False):  # it would round the bias
        for heads, cols, blocks in _parts(q.shape[1], h, w, forward_bytes or budgets.forward, budgets.copied):
            strips = _strips(table[heads], w, cols).to(dtype)
            if _reads_views(q.device) and len(blocks) > 1:
                for image in range(len(q)):
                    at = image, heads
                    results[at][:, :, cols] = _attend_from_all(queries[at][:, :, cols], k[at], v[at], strips)
            else:
                for block in blocks:
                    bias = torch.cat(_bias_of_rows(strips, block, h, w), 1)
                    rows_of_q = queries[:, heads, block, cols]
                    attended = F.scaled_dot_product_attention(
                        rows_of_q.flatten(2, 3), k[:, heads], v[:, heads], bias[None]
                    )
                    results[:, heads, block, cols] = attended.reshape(rows_of_q.shape)
                    del bias, attended
            del strips  # before the next are made
    return out


def _kernels(q: Tensor) -> ModuleType | None:
    """Give the module of the kernels that take these queries; None on a CPU, and where they cannot be built."""
    if not q.is_cuda or not _builds_kernels():
        return None
    from moat_det.backbones.moat import fused_attention  # which needs triton

    return fused_attention if fused_attention.is_fusible(q) else None


@functools.cache
def _builds_kernels() -> bool:
    """Whether triton is there, which comes with torch on Linux, and can build what starts a kernel."""
    try:
        from triton.runtime import driver
    except ImportError:
        return False
    try:
        driver.active.get_current_target()
    except Exception as error:  # of the compiler, of a header that is not there, or of the driver
        logger.warning(
            "Attention goes in blocks, which takes longer on a GPU: its kernel needs a C compiler (gcc, or what CC "
            f"names) and Python's headers, and cannot be built: {one_line(error)}"
        )
        return False
    return True


def _reads_views(device: torch.device) -> bool:
    """Whether the kernel takes a bias that is a view; those of GPUs want it aligned."""
    return device.type == "cpu"


def _attend_from_all(q: Tensor, k: Tensor, v: Tensor, strips: Tensor) -> Tensor:
    """Attend from queries (N, h, columns, K), with keys and values (N, h * w, K), to the bias in strips of the columns.

    To the kernel heads are images, columns are heads, and the rows of a column its queries: so the bias is one view.
    """
    keys = k.shape[1]
    bias = strips.unfold(2, keys, keys // q.shape[1])  # (N, columns, h, h * w), from the last row to the first
    k, v = (x[:, None].expand(-1, q.shape[2], -1, -1) for x in (k, v))
    return F.scaled_dot_product_attention(q.transpose(1, 2).flip(2), k, v, bias).flip(2).transpose(1, 2)


@torch.library.custom_op("moat_det::blocked_attention_backward", mutates_args=())
def blocked_attention_backward(
    grad: torch.Tensor,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    table: torch.Tensor,
    out: torch.Tensor,
    rows: int,
    columns: int,
    backward_bytes: int | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Give the gradients of q, k, v, which lie as the output does, and of the table.

    The probabilities are made anew, by block, in float32 at least.
    """
    if (kernels := _kernels(q)) is not None:
        with torch.cuda.device_of(q):
            return kernels.fused_attention_backward(grad, q, k, v, table, out, rows, columns)
    h, w = rows, columns
    budgets = _budgets(q.device)
    backward_bytes = backward_bytes or budgets.backward
    dtypes = [x.dtype for x in (q, k, v, table)]
    dtype = torch.promote_types(q.dtype, torch.float32)
    scale = q.shape[3] ** -0.5
    # What a softmax takes off the gradient of its probabilities: their mean by the probabilities, out being that of v.
    mean = (grad.to(dtype) * out.to(dtype)).sum(-1, keepdim=True)
    q, k, v, grad = (x.to(dtype).contiguous() for x in (q, k, v, grad))
    grad_q, grad_k, grad_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
    grad_table = torch.zeros(table.shape, dtype=dtype, device=table.device)
    by_row = [x.unflatten(2, (h, w)) for x in (q, grad, mean)]
    with torch.autocast(q.device.type, enabled=False):
        for heads, cols, blocks in _parts(q.shape[1], h, w, backward_bytes, budgets.copied):
            strips = _strips(table[heads], w, cols).to(dtype)
            grad_strips = torch.zeros_like(strips)
            for block in blocks:
                bias, grad_bias = (_bias_of_rows(x, block, h, w) for x in (strips, grad_strips))
                size = (len(bias), bias[0].shape[1])
                # Several images at once only with all heads: both axes are then one, which matmul needs not to copy.
                all_heads = len(strips) == q.shape[1]
                images = max(1, backward_bytes // (4 * len(bias) * bias[0].numel())) if all_heads else 1
                for image in range(0, len(q), images):
                    at = (slice(image, image + images), heads)
                    q_block, grad_block, mean_block = (x[at][:, :, block, cols].flatten(2, 3) for x in by_row)
                    logits = torch.matmul(q_block * scale, k[at].mT)
                    for part, row in zip(logits.unflatten(2, size).unbind(2), bias, strict=True):
                        part += row
                    share = logits.softmax(-1)
                    grad_v[at] += torch.matmul(share.mT, grad_block)
                    grad_logits = torch.matmul(grad_block, v[at].mT).sub_(mean_block).mul_(share)
                    for part, row in zip(grad_logits.unflatten(2, size).unbind(2), grad_bias, strict=True):
                        row += part.sum(0)
                    grad_logits *= scale
                    grad_q.unflatten(2, (h, w))[at][:, :, block, cols] = (grad_logits @ k[at]).unflatten(2, size)
                    grad_k[at] += torch.matmul(grad_logits.mT, q_block)
            _add_strips(grad_table[heads], grad_strips, w, cols)
    grad_q, grad_k, grad_v = (
        _empty(x, dtype).copy_(x) for x, dtype in zip((grad_q, grad_k, grad_v), dtypes[:3], strict=True)
    )
    return grad_q, grad_k, grad_v, grad_table.to(dtypes[3])


def _empty(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Give a tensor (B, N, L, K) like x, in memory as (B, L, N, K), which is how linear layers have their tokens."""
    images, heads, tokens, size = x.shape
    return torch.empty(images, tokens, heads, size, dtype=dtype, device=x.device).transpose(1, 2)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.rows, ctx.columns, _, ctx.backward_bytes = inputs
    ctx.save_for_backward(*tensors, output)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    grads = blocked_attention_backward(grad, *ctx.saved_tensors, ctx.rows, ctx.columns, ctx.backward_bytes)
    return *grads, None, None, None, None


blocked_attention.register_autograd(_backward, setup_context=_setup_context)


@blocked_attention.register_fake
def _(q: Tensor, *_: Any) -> Tensor:
    return _empty(q, q.dtype)


@blocked_attention_backward.register_fake
def _(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, table: Tensor, *_: Any) -> tuple[Tensor, ...]:
    return *(_empty(x, x.dtype) for x in (q, k, v)), torch.empty(table.shape, dtype=table.dtype, device=table.device)


@register_flop_formula(torch.ops.moat_det.blocked_attention)
def _(q: torch.Size, k: torch.Size, v: torch.Size, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(q, k, v)
