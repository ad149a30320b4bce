"""Batches of a dataset, made by worker processes."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, RandomSampler, Sampler

from moat_det.cores import available_cores
from moat_det.data.loader.dataset import DetectionDataset
from moat_det.data.loader.good_parts import GoodParts
from moat_det.data.loader.rectangles import RectangleSampler
from moat_det.data.seeds import image_seed
from moat_det.data.sizes.policy import TrainingRectangles
from moat_det.errors import UserError

_MOST_WORKERS = 8
_PREFETCHED = 4  # batches that a worker is ahead by


class Loader(DataLoader):
    """A `DataLoader` whose workers live on from one epoch to the next.

    Its batches depend on the dataset, its seed and its epoch alone, not on the number of workers.
    """

    dataset: DetectionDataset
    _iterator: Any

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]  # the engine wants no more of it
        """Give the batches of an epoch, and then name the images that were broken."""
        try:
            yield from super().__iter__()
        except UserError as error:
            # Of a worker's error torch gives the traceback's text, whose last line is the message.
            raise UserError(str(error).rpartition("UserError: ")[2].strip()) from error
        except (ConnectionError, EOFError, FileNotFoundError) as error:
            if not self.num_workers:
                raise
            time.sleep(1)  # the signal of its death comes a moment later, and torch raises from it wherever we are
            raise RuntimeError("DataLoader worker was killed while it handed over a batch") from error
        self.dataset.images.report_broken()

    def start_epoch(self, epoch: int) -> None:
        """Let the order of the images and each random choice be those of an epoch."""
        self.dataset.epoch = epoch
        if isinstance(self.sampler, RandomSampler):
            # No image has this number, so that the order has a seed of its own.
            self.sampler.generator.manual_seed(image_seed(self.dataset.seed, epoch, len(self.dataset)))

    def reset(self) -> None:
        """End the workers; the next epoch's see the dataset as it is then. The engine asks for it when mosaic ends."""
        if self._iterator is not None:
            self._iterator._shutdown_workers()
            self._iterator = None

    close = reset  # the engine's name for it after the last epoch


class GoodPartsSampler(Sampler[int]):
    """Gives the images that an epoch takes, in its order.

    Args:
        dataset: Whose `good_parts` and `epoch` it follows.
        good_parts: Those of the dataset.
    """

    def __init__(self, dataset: DetectionDataset, good_parts: GoodParts) -> None:
        self._dataset, self._good_parts = dataset, good_parts

    def __len__(self) -> int:
        """Images."""
        return len(self._good_parts)

    def __iter__(self) -> Iterator[int]:
        """Give the images' positions."""
        yield from self._good_parts.order(self._dataset.epoch)


def default_workers(device: torch.device) -> int:
    """How many processes read images where nobody says: on a GPU one for each core, up to 8; on a CPU none.

    There the model takes every core, and each of its steps waits for the thread that a worker took the core of: one
    worker on two cores made training slower (docs/results.md).
    """
    return min(available_cores(), _MOST_WORKERS) if device.type == "cuda" else 0


def make_loader(
    dataset: DetectionDataset,
    workers: int,
    device: torch.device,
    shuffle: bool = False,
    drop_last: bool = False,
) -> Loader:
    """Make the loader of a split, in the dataset's batches.

    Args:
        dataset: The split.
        workers: Processes that read images; 0 reads them in this one. No more are started than there are batches.
        device: Where the batches go.
        shuffle: Draw another order for each epoch.
        drop_last: Leave out a last shuffled batch that is smaller than the others, unless it is the only one.
    """
    count = len(dataset.batches)
    how: dict[str, Any] = {"batch_sampler": [list(batch.images) for batch in dataset.batches]}
    if shuffle:
        taken = len(dataset) if dataset.good_parts is None else len(dataset.good_parts)
        count = -(-taken // dataset.batch_size)
        order: Sampler[int] = RandomSampler(dataset, generator=torch.Generator())
        if isinstance(dataset.sizes, TrainingRectangles):
            order = RectangleSampler(dataset)
        elif dataset.good_parts is not None:
            order = GoodPartsSampler(dataset, dataset.good_parts)
        batch_size = min(dataset.batch_size, taken)
        how = {"batch_size": batch_size, "sampler": order, "drop_last": drop_last and count > 1}
    workers = min(workers, count) if count > 1 else 0
    return Loader(
        dataset,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=_PREFETCHED if workers else None,
        worker_init_fn=_start_worker,
        pin_memory=device.type == "cuda",
        collate_fn=dataset.collate_fn,
        # Of its own: else starting workers draws from the training's generator, and their number changes the run.
        generator=torch.Generator(),
        **how,
    )


def _start_worker(worker: int) -> None:
    cv2.setNumThreads(0)  # torch limits itself in a worker


@contextmanager
def killed_workers_explained() -> Iterator[None]:
    """Turn what torch raises, at any place of the main process, when a worker dies into one line.

    Raises:
        UserError: A worker was killed.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        multiprocessing.active_children()  # takes note of the dead one, or torch raises again when another ends
        reason = " ".join(str(error).split())
        raise UserError(
            f"a process that reads images ended ({reason}): mostly the memory, or /dev/shm, was full; "
            "give fewer --workers (0 reads in the main process) or a smaller --batch"
        ) from error
