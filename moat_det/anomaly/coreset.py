"""A few features that stand for many."""

from __future__ import annotations

import torch
from torch import Tensor

from moat_det.progress import progress

PROJECTED = 64
"""Dimensions that distances are taken in while features are chosen: they keep as far as they matter here."""


def choose_coreset(features: Tensor, count: int, seed: int = 0) -> Tensor:
    """Choose features so that none of the others is far from a chosen one: each next is the farthest from those before.

    The greedy minimax of PatchCore (arXiv 2106.08265, algorithm 1), after a random projection, as there.

    Args:
        features: (N, C) float32.
        count: How many to choose; of no more, all are.
        seed: Of the projection and of the first one.

    Returns:
        (min(count, N),) int64 indices, in the order they were chosen.
    """
    if len(features) <= count:
        return torch.arange(len(features), device=features.device)
    generator = torch.Generator().manual_seed(seed)
    channels = features.shape[1]
    if channels > PROJECTED:
        projection = torch.randn(channels, PROJECTED, generator=generator) / PROJECTED**0.5
        features = features @ projection.to(features)
    chosen = torch.empty(count, dtype=torch.int64, device=features.device)
    chosen[0] = int(torch.randint(len(features), (1,), generator=generator))
    norms = features.square().sum(1)
    nearest = torch.full_like(norms, torch.inf)
    for number in progress(range(1, count), "choosing what stands for the good parts", unit="patch", leave=False):
        last = chosen[number - 1]
        to_last = norms + norms[last] - 2 * (features @ features[last])
        to_last[last] = 0
        torch.minimum(nearest, to_last, out=nearest)
        nearest[last] = -1  # never again, though others lie in the same place
        chosen[number] = nearest.argmax()
    return chosen
