"""How far features are from the nearest of others, in bounded memory."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK_BYTES = 32 * 2**20
"""Most bytes of the table of distances that is alive at a time."""


def nearest_distances(queries: Tensor, points: Tensor, chunk_bytes: int = CHUNK_BYTES) -> Tensor:
    """Give the Euclidean distance of each query to its nearest point.

    Args:
        queries: (N, C) float32.
        points: (M, C) float32, on the same device.
        chunk_bytes: Of the distances that are computed at once.

    Returns:
        (N,) float32; exactly 0 where the query is one of the points.
    """
    rows = max(chunk_bytes // (4 * len(points)), 1)
    norms = points.square().sum(1)
    found = []
    for part in queries.split(rows):
        # The squares less what all points of a row have in common, in one product.
        nearest = torch.addmm(norms, part, points.T, alpha=-2).argmin(1)
        # That product is precise to some digits of the features, not of their differences, which are few.
        found.append((part - points[nearest]).square().sum(1).sqrt())
    return torch.cat(found) if found else queries.new_empty(0)
