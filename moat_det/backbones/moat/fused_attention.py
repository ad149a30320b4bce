"""Attention with a relative position bias in one kernel, on a GPU: nothing of the size of queries times keys is stored.

The bias of the query in row i and column j to the key in row x and column y is table[x - i + h - 1, y - j + w - 1].
With the table's rows laid end to end that is its number

    (h - 1 - i) * (2w - 1) + w - 1 - j  +  x * (2w - 1) + y

the sum of one term of the query and one of the key, so that the kernels read it where it lies. They go through tiles of
queries and keys with a running softmax (Dao et al., FlashAttention, arXiv 2205.14135), and the backward pass makes the
probabilities anew from the logarithms of the sums that they were divided by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

LOG2E = tl.constexpr(1.4426950408889634)

_DTYPES = (torch.bfloat16, torch.float16, torch.float32)
_HEAD_SIZES = (16, 32, 64, 128)

# Of any map and batch: what triton would build anew for another.
_ANY = ["tokens", "heads", "rows", "columns", "images", "groups", "strips", "strip_rows", "width", "chunks"]

# Of which a large GPU holds about as many at once.
_PROGRAMS = 1024


def is_fusible(q: Tensor) -> bool:
    """Whether the kernels take queries (B, N, L, K) of a GPU.

    They are of 32 bits at most and K is a power of two from 16 to 128; the GPU is NVIDIA's and has bfloat16 (compute
    capability 8): triton's products have other formats on AMD's.
    """
    recent = torch.version.hip is None and torch.cuda.get_device_capability(q.device) >= (8, 0)
    return recent and q.dtype in _DTYPES and q.shape[3] in _HEAD_SIZES


def fused_attention(q: Tensor, k: Tensor, v: Tensor, table: Tensor, rows: int, columns: int) -> Tensor:
    """Do what `blocked_attention` does, forward."""
    q, k, v = (_tokens_first(x) for x in (q, k, v))
    return _forward(q, k, v, _flat(table), rows, columns)[0].transpose(1, 2)


def fused_attention_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, table: Tensor, out: Tensor, rows: int, columns: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Do what `blocked_attention_backward` does; the order in which the table's gradient is summed up is not fixed."""
    flat = _flat(table)
    q, k, v, grad, out = (_tokens_first(x) for x in (q, k, v, grad, out))
    _, logsum = _forward(q, k, v, flat, rows, columns)
    mean = (grad.float() * out.float()).sum(-1).transpose(1, 2).contiguous()
    grad_q, grad_k, grad_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    grad_table = torch.zeros_like(flat)
    shared = (q, k, v, flat, grad, logsum, mean)
    images, tokens, heads, _ = q.shape
    options = _options(q, rows, columns)
    tiles = (triton.cdiv(tokens, options["TILE"]) * images * heads,)
    _backward_queries[tiles](*shared, grad_q, **options)
    _backward_keys[tiles](*shared, grad_k, grad_v, **options)
    strips = _strips(rows, columns, options["TILE"])
    programs = (2 * strips.number - 1) * strips.chunks**2 * heads
    groups = min(images, max(1, _PROGRAMS // programs))
    _backward_table[2 * strips.number - 1, strips.chunks**2 * groups, heads](
        *shared, grad_table, images, groups, strips.number, strips.rows, strips.width, strips.chunks, **options
    )
    grad_q, grad_k, grad_v = (x.transpose(1, 2) for x in (grad_q, grad_k, grad_v))
    return grad_q, grad_k, grad_v, grad_table.view(table.shape).to(table.dtype)


@dataclass(frozen=True)
class _Strips:
    """How a map is cut into tiles for the table's gradient: into strips of rows, and these along the columns.

    Attributes:
        number: Of strips.
        rows: Of a strip.
        chunks: Of a strip.
        width: Columns of a chunk; rows * width tokens fit a tile.
    """

    number: int
    rows: int
    chunks: int
    width: int


def _strips(rows: int, columns: int, tile: int) -> _Strips:
    """Cut a map so that it takes the fewest tiles."""
    found = []
    for chunks in range(triton.cdiv(columns, tile), triton.cdiv(columns, tile) + 4):
        width = triton.cdiv(columns, chunks)
        height = min(rows, tile // width)
        found.append(_Strips(triton.cdiv(rows, height), height, chunks, width))
    return min(found, key=lambda strips: strips.number * strips.chunks)


def _tokens_first(x: Tensor) -> Tensor:
    """Give (B, N, L, K) as (B, L, N, K), as a linear layer leaves it in memory."""
    return x.transpose(1, 2).contiguous()


def _flat(table: Tensor) -> Tensor:
    """Give a table (N, 2h - 1, 2w - 1) in float32, each head's rows end to end."""
    return table.float().flatten(1).contiguous()


def _options(q: Tensor, rows: int, columns: int) -> dict[str, Any]:
    _, tokens, heads, size = q.shape
    return {
        "tokens": tokens,
        "heads": heads,
        "rows": rows,
        "columns": columns,
        "scale": size**-0.5,
        "SIZE": size,
        "TILE": 64 if size <= 32 else 32,  # of larger heads the registers hold no more
        # Three products of TensorFloat32 have the digits of one of float32, in half its time.
        "PRECISION": "tf32x3" if q.dtype == torch.float32 else "tf32",
        "num_warps": 4,
        "num_stages": 1,  # the bias, read by element, is not worth fetching ahead
    }


def _forward(q: Tensor, k: Tensor, v: Tensor, flat: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Give what queries (B, L, N, K) attend to, and (B, N, L) the binary logarithms of the sums under the softmax."""
    images, tokens, heads, _ = q.shape
    out = torch.empty_like(q)
    logsum = torch.empty(images, heads, tokens, dtype=torch.float32, device=q.device)
    options = _options(q, rows, columns)
    tiles = (triton.cdiv(tokens, options["TILE"]) * images * heads,)
    _attend[tiles](q, k, v, flat, out, logsum, **options)
    return out, logsum


# In the kernels a program has the tokens of one tile of one head of one image, unless it says otherwise. "places" are
# the terms of the bias, above.


@triton.jit
def _place(tokens, heads, TILE: tl.constexpr):  # type: ignore[no-untyped-def]
    """Give the image, the head and the tokens of this program, of all in one dimension: the others end at 65535."""
    tiles = tl.cdiv(tokens, TILE)
    one = tl.program_id(0) // tiles
    at = tl.program_id(0) % tiles * TILE + tl.arange(0, TILE)
    return (one // heads).to(tl.int64), one % heads, at


@triton.jit
def _query_places(at, rows, columns):  # type: ignore[no-untyped-def]
    return (rows - 1 - at // columns) * (2 * columns - 1) + columns - 1 - at % columns


@triton.jit
def _key_places(at, columns):  # type: ignore[no-untyped-def]
    return at // columns * (2 * columns - 1) + at % columns


@triton.jit
def _load(x, image, head, at, tokens, heads, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]
    """Load tokens (TILE, SIZE) of x (B, L, N, K); zeros beyond the last."""
    place = ((image * tokens + at) * heads + head)[:, None] * SIZE + tl.arange(0, SIZE)[None, :]
    return tl.load(x + place, mask=(at < tokens)[:, None], other=0.0)


@triton.jit
def _store(x, value, image, head, at, tokens, heads, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]
    place = ((image * tokens + at) * heads + head)[:, None] * SIZE + tl.arange(0, SIZE)[None, :]
    tl.store(x + place, value.to(x.dtype.element_ty), mask=(at < tokens)[:, None])


@triton.jit
def _logits(q, k, bias, at_q, at_k, tokens, rows, columns, scale, PRECISION: tl.constexpr):  # type: ignore[no-untyped-def]
    """Compute logits for powers of two, minus infinity beyond the last token."""
    places = _query_places(at_q, rows, columns)[:, None] + _key_places(at_k, columns)[None, :]
    inside = (at_q < tokens)[:, None] & (at_k < tokens)[None, :]
    added = tl.load(bias + places, mask=inside, other=-float("inf"))
    return (tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale + added) * LOG2E


@triton.jit
def _table_of(table, head, rows, columns):  # type: ignore[no-untyped-def]
    return table + head * (2 * rows - 1) * (2 * columns - 1)


@triton.jit(do_not_specialize=_ANY)
def _attend(  # type: ignore[no-untyped-def]
    q, k, v, table, out, logsum, tokens, heads, rows, columns, scale,
    SIZE: tl.constexpr, TILE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    image, head, at = _place(tokens, heads, TILE)
    bias = _table_of(table, head, rows, columns)
    query = _load(q, image, head, at, tokens, heads, SIZE)
    largest = tl.full([TILE], -float("inf"), tl.float32)
    total = tl.zeros([TILE], tl.float32)
    result = tl.zeros([TILE, SIZE], tl.float32)
    for start in range(0, tokens, TILE):
        at_k = start + tl.arange(0, TILE)
        key = _load(k, image, head, at_k, tokens, heads, SIZE)
        value = _load(v, image, head, at_k, tokens, heads, SIZE)
        logits = _logits(query, key, bias, at, at_k, tokens, rows, columns, scale, PRECISION)
        larger = tl.maximum(largest, tl.max(logits, 1))
        share = tl.exp2(logits - larger[:, None])
        kept = tl.exp2(largest - larger)
        total = total * kept + tl.sum(share, 1)
        result = result * kept[:, None] + tl.dot(share.to(value.dtype), value, input_precision=PRECISION)
        largest = larger
    _store(out, result / total[:, None], image, head, at, tokens, heads, SIZE)
    place = (image * heads + head) * tokens + at
    tl.store(logsum + place, largest + tl.log2(total), mask=at < tokens)


@triton.jit
def _shares_and_grad(  # type: ignore[no-untyped-def]
    q, k, v, grad, logsum, mean, bias, at_q, at_k, place, tokens, rows, columns, scale, PRECISION: tl.constexpr
):
    """Compute the probabilities of a tile of queries and keys, and the gradient of their logits."""
    logits = _logits(q, k, bias, at_q, at_k, tokens, rows, columns, scale, PRECISION)
    log_total = tl.load(logsum + place + at_q, mask=at_q < tokens, other=0.0)
    taken_off = tl.load(mean + place + at_q, mask=at_q < tokens, other=0.0)
    share = tl.exp2(logits - log_total[:, None])
    return share, share * (tl.dot(grad, tl.trans(v), input_precision=PRECISION) - taken_off[:, None])


@triton.jit(do_not_specialize=_ANY)
def _backward_queries(  # type: ignore[no-untyped-def]
    q, k, v, table, grad, logsum, mean, grad_q, tokens, heads, rows, columns, scale,
    SIZE: tl.constexpr, TILE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    image, head, at = _place(tokens, heads, TILE)
    bias = _table_of(table, head, rows, columns)
    place = (image * heads + head) * tokens
    query = _load(q, image, head, at, tokens, heads, SIZE)
    grad_out = _load(grad, image, head, at, tokens, heads, SIZE)
    result = tl.zeros([TILE, SIZE], tl.float32)
    for start in range(0, tokens, TILE):
        at_k = start + tl.arange(0, TILE)
        key = _load(k, image, head, at_k, tokens, heads, SIZE)
        value = _load(v, image, head, at_k, tokens, heads, SIZE)
        _, slope = _shares_and_grad(
            query, key, value, grad_out, logsum, mean, bias, at, at_k, place, tokens, rows, columns, scale, PRECISION
        )
        result += tl.dot(slope.to(key.dtype), key, input_precision=PRECISION)
    _store(grad_q, result * scale, image, head, at, tokens, heads, SIZE)


@triton.jit(do_not_specialize=_ANY)
def _backward_keys(  # type: ignore[no-untyped-def]
    q, k, v, table, grad, logsum, mean, grad_k, grad_v, tokens, heads, rows, columns, scale,
    SIZE: tl.constexpr, TILE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    image, head, at = _place(tokens, heads, TILE)
    bias = _table_of(table, head, rows, columns)
    place = (image * heads + head) * tokens
    key = _load(k, image, head, at, tokens, heads, SIZE)
    value = _load(v, image, head, at, tokens, heads, SIZE)
    of_key = tl.zeros([TILE, SIZE], tl.float32)
    of_value = tl.zeros([TILE, SIZE], tl.float32)
    for start in range(0, tokens, TILE):
        at_q = start + tl.arange(0, TILE)
        query = _load(q, image, head, at_q, tokens, heads, SIZE)
        grad_out = _load(grad, image, head, at_q, tokens, heads, SIZE)
        share, slope = _shares_and_grad(
            query, key, value, grad_out, logsum, mean, bias, at_q, at, place, tokens, rows, columns, scale, PRECISION
        )
        of_value += tl.dot(tl.trans(share.to(grad_out.dtype)), grad_out, input_precision=PRECISION)
        of_key += tl.dot(tl.trans(slope.to(query.dtype)), query, input_precision=PRECISION)
    _store(grad_k, of_key * scale, image, head, at, tokens, heads, SIZE)
    _store(grad_v, of_value, image, head, at, tokens, heads, SIZE)


@triton.jit
def _strip(lane, chunk, strip_rows, width, columns, tokens):  # type: ignore[no-untyped-def]
    """Give rows, columns and numbers of the tokens in a chunk of the first strip; a lane without one gets `tokens`."""
    row, column = lane // width, chunk * width + lane % width
    inside = (row < strip_rows) & (column < columns)
    return row, column, tl.where(inside, row * columns + column, tokens)


@triton.jit(do_not_specialize=_ANY)
def _backward_table(  # type: ignore[no-untyped-def]
    q, k, v, table, grad, logsum, mean, grad_table, images, groups, strips, strip_rows, width, chunks,
    tokens, heads, rows, columns, scale, SIZE: tl.constexpr, TILE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Sum over all pairs of strips that lie as far apart: their tokens have the same places in the table.

    So a program adds to the table once, for a chunk of each strip and every so many images.
    """
    apart = tl.program_id(0) - (strips - 1)
    first_image = tl.program_id(1) % groups
    pair = tl.program_id(1) // groups
    head = tl.program_id(2)
    bias = _table_of(table, head, rows, columns)
    lane = tl.arange(0, TILE)
    row_q, column_q, first_q = _strip(lane, pair // chunks, strip_rows, width, columns, tokens)
    row_k, column_k, first_k = _strip(lane, pair % chunks, strip_rows, width, columns, tokens)
    begin = tl.maximum(0, -apart)
    each = (images - first_image + groups - 1) // groups
    result = tl.zeros([TILE, TILE], tl.float32)
    for number in range(0, (strips - tl.abs(apart)) * each):
        image = (first_image + number % each * groups).to(tl.int64)
        at = first_q + (begin + number // each) * strip_rows * columns
        at_k = first_k + (begin + apart + number // each) * strip_rows * columns
        place = (image * heads + head) * tokens
        query = _load(q, image, head, at, tokens, heads, SIZE)
        grad_out = _load(grad, image, head, at, tokens, heads, SIZE)
        key = _load(k, image, head, at_k, tokens, heads, SIZE)
        value = _load(v, image, head, at_k, tokens, heads, SIZE)
        _, slope = _shares_and_grad(
            query, key, value, grad_out, logsum, mean, bias, at, at_k, place, tokens, rows, columns, scale, PRECISION
        )
        result += slope
    down = apart * strip_rows + row_k[None, :] - row_q[:, None]
    places = (down + rows - 1) * (2 * columns - 1) + columns - 1 + column_k[None, :] - column_q[:, None]
    inside = (first_q < tokens)[:, None] & (first_k < tokens)[None, :] & (tl.abs(down) < rows)
    tl.atomic_add(_table_of(grad_table, head, rows, columns) + places, result, mask=inside)
