"""The batches of a training: what is random in them depends on seed, epoch and picture alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from moat_det.data.loader.loader import default_workers, start_worker
from moat_det.data.seeds import image_seed
from moat_det.errors import UserError
from moat_det.pretraining.options import RunPlace

Draw = tuple[int, int]
"""An epoch, and the number of a picture."""


def load_batches(
    dataset: Dataset[Any],
    batches: list[list[Draw]],
    workers: int,
    device: torch.device,
    collate: Callable[[list[Any]], Any] | None = None,
) -> Iterator[Any]:
    """Read batches.

    Args:
        dataset: Gives a sample for each draw.
        batches: Of each the draws.
        workers: Processes that read.
        device: Where they will go.
        collate: Makes a batch of samples; None for torch's own.

    Raises:
        UserError: That of the dataset.
    """
    loader = DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=min(workers, len(batches)),
        worker_init_fn=start_worker,
        pin_memory=device.type == "cuda",
        collate_fn=collate,
        generator=torch.Generator(),  # of its own: starting workers draws from it
    )
    try:
        yield from loader
    except UserError as error:  # of a worker's error torch gives the traceback's text
        raise UserError(str(error).rpartition("UserError: ")[2].strip()) from error


def shuffled_batches(pictures: int, batch: int, seed: int, epoch: int) -> list[list[Draw]]:
    """Draw the batches of an epoch of training; a last one that is smaller is left out, unless it is the only one."""
    # No picture has this number, so that the order has a seed of its own.
    generator = torch.Generator().manual_seed(image_seed(seed, epoch, pictures))
    order = [(epoch, number) for number in torch.randperm(pictures, generator=generator).tolist()]
    batch = min(batch, pictures)
    return [order[start : start + batch] for start in range(0, pictures - batch + 1, batch)]


def count_batches(pictures: int, batch: int) -> int:
    """Count the batches of `shuffled_batches`."""
    return pictures // min(batch, pictures)


def ordered_batches(draws: list[Draw], batch: int) -> list[list[Draw]]:
    """Divide draws into batches in their order; the last one may be smaller."""
    return [draws[start : start + batch] for start in range(0, len(draws), batch)]


def worker_count(place: RunPlace, device: torch.device) -> int:
    """Give the processes that read pictures."""
    return default_workers(device) if place.workers is None else place.workers
