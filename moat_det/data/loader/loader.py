"""Batches of a dataset, made by worker processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader

from moat_det.cores import available_cores
from moat_det.data.loader.dataset import DetectionDataset
from moat_det.data.loader.rectangles import RectangleSampler
from moat_det.data.loader.shares import Shares
from moat_det.data.loader.shuffled import ShuffledSampler
from moat_det.data.sizes.policy import TrainingRectangles
from moat_det.errors import UserError

_MOST_WORKERS = 8
_PREFETCHED = 4  # batches that a worker is ahead by


class Loader(DataLoader):
    """A `DataLoader` whose workers live on from one epoch to the next.

    Its batches depend on the dataset, its seed and its epoch alone, not on the number of workers. One of training says
    in `share` what of a batch that several processes have in common it is.

    Attributes:
        skip: How many batches at the beginning of an epoch are not read; in the place of each comes an empty one, whose
            "passed" is True.
    """

    dataset: DetectionDataset
    skip = 0
    _iterator: Any

    @property
    def _index_sampler(self) -> Any:
        return _Remaining(super()._index_sampler, self)

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]  # the engine wants no more of it
        """Give the batches of an epoch, and then name the images that were broken."""
        for _ in range(self.skip):
            yield {"passed": True, "img": torch.empty(0, 3, 0, 0), "cls": torch.empty(0, 1)}
        try:
            for number, batch in enumerate(super().__iter__(), start=self.skip):
                yield batch | {"share": self.sampler.of_batch(number)} if isinstance(self.sampler, Shares) else batch
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

    def reset(self) -> None:
        """End the workers; the next epoch's see the dataset as it is then. The engine asks for it when mosaic ends."""
        if self._iterator is not None:
            self._iterator._shutdown_workers()
            self._iterator = None

    close = reset  # the engine's name for it after the last epoch


class _Remaining:
    """The batches of a sampler without those that a loader skips."""

    def __init__(self, sampler: Any, loader: Loader) -> None:
        self._sampler, self._loader = sampler, loader

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(self._sampler), self._loader.skip, None)

    def __len__(self) -> int:
        return len(self._sampler)


def default_workers(device: torch.device, processes: int = 1) -> int:
    """How many processes read images where nobody says: on a GPU one for each core, up to 8; on a CPU none.

    Of several processes that train on a machine each has its part of the cores. On a CPU the model takes every core,
    and each of its steps waits for the thread that a worker took the core of: one worker on two cores made training
    slower (docs/results.md).
    """
    return min(max(available_cores() // processes, 1), _MOST_WORKERS) if device.type == "cuda" else 0


def make_loader(
    dataset: DetectionDataset,
    workers: int,
    device: torch.device,
    shuffle: bool = False,
    drop_last: bool = False,
    rank: int = 0,
    ranks: int = 1,
) -> Loader:
    """Make the loader of a split, in the dataset's batches.

    Several processes share each shuffled batch; of the others each is one process's alone, so that what is computed of
    it does not depend on how many there are.

    Args:
        dataset: The split.
        workers: Processes that read images; 0 reads them in this one. No more are started than there are batches.
        device: Where the batches go.
        shuffle: Draw another order for each epoch.
        drop_last: Leave out a last shuffled batch that is smaller than the others, unless it is the only one.
        rank: Which process this is, from 0.
        ranks: How many there are.
    """
    batches = dataset.batches if shuffle else dataset.batches[rank::ranks]
    workers = min(workers, len(batches)) if len(batches) > 1 else 0
    how: dict[str, Any] = {"batch_sampler": [list(batch.images) for batch in batches]}
    if shuffle:
        rectangles = isinstance(dataset.sizes, TrainingRectangles)
        order = RectangleSampler(dataset) if rectangles else ShuffledSampler(dataset)
        shares = Shares(order, min(dataset.batch_size, len(order)), rank, ranks, drop_last)
        how = {"batch_size": shares.batch_size, "sampler": shares}
    return Loader(
        dataset,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=_PREFETCHED if workers else None,
        worker_init_fn=start_worker,
        pin_memory=device.type == "cuda",
        collate_fn=dataset.collate_fn,
        # Of its own: else starting workers draws from the training's generator, and their number changes the run.
        generator=torch.Generator(),
        **how,
    )


def start_worker(worker: int) -> None:
    """Let a worker use one core, and leave signals to the process that it works for."""
    cv2.setNumThreads(0)  # torch limits itself in a worker
    _outlive_signals()


def _outlive_signals() -> None:
    """Let a worker end by its parent alone.

    A signal to end mostly goes to all processes (of a terminal, a service, a job), and the parent, which finishes its
    batch, would fail where it loses a worker meanwhile.
    """
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if not hasattr(signal, "sigwaitinfo"):  # as on macOS, where torch's own way stays
        return
    # Ignored it cannot be: it is by SIGTERM that a parent ends a worker which has not ended by itself.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def end_by_parent() -> None:
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
            pass
        os._exit(0)

    threading.Thread(target=end_by_parent, daemon=True).start()


def is_of_dead_worker(error: BaseException) -> bool:
    """Whether torch raised an error since a process that reads images has ended."""
    return isinstance(error, RuntimeError) and "DataLoader worker" in str(error)


@contextmanager
def killed_workers_explained() -> Iterator[None]:
    """Turn what torch raises, at any place of the main process, when a worker dies into one line.

    Raises:
        UserError: A worker was killed.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_of_dead_worker(error):
            raise
        multiprocessing.active_children()  # takes note of the dead one, or torch raises again when another ends
        reason = " ".join(str(error).split())
        raise UserError(
            f"a process that reads images ended ({reason}): mostly the memory, or /dev/shm, was full; "
            "give fewer --workers (0 reads in the main process) or a smaller --batch"
        ) from error
