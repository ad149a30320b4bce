"""How the statistics of batch norms follow the steps of a training."""

from __future__ import annotations

from collections.abc import Collection, Container

import torch
from torch import nn

from moat_det.detector.detector import BN_MOMENTUM

MIN_IMAGES_FOR_BATCH_STATISTICS = 4
"""With fewer images a step, batch statistics say more about these images than about the data."""


def follow_steps(norms: Collection[nn.BatchNorm2d], images: int, given: Container[nn.Module]) -> None:
    """Set how norms take a batch: hold their statistics where it is too small to have any, and set their momentum.

    Statistics that begin at nothing follow the first steps faster, each with a weight in proportion to its number:
    at the lasting momentum of 0.03 a training of eight steps an epoch would be measured by them for four epochs.

    Args:
        norms: In training mode at the start of the epoch.
        images: Of the batch.
        given: Those among them whose statistics came with weights, and did not begin at nothing.
    """
    for norm in norms:
        norm.train(images >= MIN_IMAGES_FOR_BATCH_STATISTICS)
    steps = {n: n.num_batches_tracked for n in norms if n not in given and n.num_batches_tracked is not None}
    # All in one transfer, as each would wait for the GPU.
    counts = torch.stack(list(steps.values())).tolist() if steps else []
    for norm, count in zip(steps, counts, strict=True):
        norm.momentum = max(BN_MOMENTUM, 2 / (2 + count))
