"""The share that each of several processes takes of every training batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch.utils.data import Sampler


@dataclass(frozen=True)
class Share:
    """What a process has of a batch.

    Attributes:
        first: Position in the batch of its first image.
        images: How many are its own; 0 in a last batch of fewer images than processes. It then computes the first
            image of the batch, as every process is to take part in every sum, and counts for nothing.
        total: Images of the batch.
    """

    first: int
    images: int
    total: int


class Shares(Sampler[int]):
    """Cuts an order of images into batches, and gives those of each that are a process's own.

    Args:
        order: The same for all processes.
        batch_size: Images of a batch, of all processes together.
        rank: Which process this is, from 0.
        ranks: How many there are.
        drop_last: Leave out a last batch that is smaller than the others, unless it is the only one.
    """

    def __init__(self, order: Sampler[int], batch_size: int, rank: int, ranks: int, drop_last: bool) -> None:
        self._order, self._batch, self._rank, self._ranks = order, batch_size, rank, ranks
        images = len(order)  # type: ignore[arg-type]  # ours all have a length
        full, rest = divmod(images, batch_size)
        sizes = [batch_size] * full + ([rest] if rest and not (drop_last and full) else [])
        self._shares = [self._share(size) for size in sizes]

    def _share(self, total: int) -> Share:
        images, more = divmod(total, self._ranks)
        return Share(self._rank * images + min(self._rank, more), images + (self._rank < more), total)

    @property
    def batch_size(self) -> int:
        """Images of a whole batch that this process computes."""
        return max(self._share(self._batch).images, 1)

    def __len__(self) -> int:
        """Images that this process takes in an epoch."""
        return sum(max(share.images, 1) for share in self._shares)

    def __iter__(self) -> Iterator[int]:
        """Give the positions of this process's images."""
        order = list(self._order)
        for number, share in enumerate(self._shares):
            begin = number * self._batch + (share.first if share.images else 0)
            yield from order[begin : begin + max(share.images, 1)]

    def of_batch(self, number: int) -> Share:
        """Give this process's share of a batch of the epoch."""
        return self._shares[number]

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: the order follows the dataset's epoch. The engine calls it where several processes train."""
