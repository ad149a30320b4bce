"""The processes that train or validate together, each of which `torchrun` calls a rank."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from ultralytics.utils import LOGGER

from moat_det.engine.device import choose_device
from moat_det.engine.distributed.devices import named_devices
from moat_det.errors import UserError

TIMEOUT = timedelta(minutes=30)
"""For so long a process waits for the others: one that hangs ends the run after it. The longest that they honestly wait
for is the first one's pycocotools and its writing, after an epoch."""

_GRACE = 15  # seconds in which whoever started the processes ends the others after one has failed

_LAUNCHED = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}


@dataclass(frozen=True)
class Group:
    """This process, and how many there are; alone by default.

    Attributes:
        rank: Which one this is, over all nodes; the first, 0, names the run's folder, writes and logs.
        size: How many there are.
        local_size: How many run on this node.
        device: Where this one computes, as the engine names devices.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1
    device: Any = None

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, value: Any) -> Any:
        """Give all processes the value of the first; what the others hand in does not count."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def gather(self, value: Any) -> list[Any]:
        """Give the first process the values of all, by rank; the others get their own alone."""
        if self.size == 1:
            return [value]
        values = [None] * self.size if self.leads else None
        dist.gather_object(value, values, dst=0)
        return [value] if values is None else values

    def any(self, value: bool) -> bool:
        """Say whether it is so in any of the processes."""
        return any(self.share(self.gather(value)))

    def sum(self, tensor: Tensor) -> Tensor:
        """Add up a tensor of all processes, in place, without a gradient."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def copy_from_first(self, tensor: Tensor) -> None:
        """Overwrite a tensor with that of the first process."""
        if self.size > 1:
            dist.broadcast(tensor, src=0)


ALONE = Group()
"""The group of a process that nobody started together with others."""


def is_launched() -> bool:
    """Whether a launcher started this process as one of several."""
    return os.environ.keys() >= _LAUNCHED


def follows() -> bool:
    """Whether this is one of several processes and not the first."""
    return is_launched() and os.environ["RANK"] != "0"


def end_at_once() -> None:
    """Let this process end without a word where it is asked to: it writes nothing, and the first one says it.

    While it trains it waits for the others instead, see `moat_det.engine.recovery.signals`.
    """
    if threading.current_thread() is threading.main_thread():  # no other may
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)


def join(device: object) -> Group:
    """Join the processes that this one was started with, and take a device of its own.

    Args:
        device: The engine's: one for each process of the node, or "cpu" for all, or nothing: the GPU of the process's
            number on the node, or the CPU where there is none.

    Returns:
        The group, of this process alone where no launcher started it.

    Raises:
        UserError: The devices are not as many as the processes, or this machine does not have them.
    """
    names = named_devices(device)
    if not is_launched():
        if len(names) > 1:
            raise UserError(
                f"--device {','.join(names)}: several processes are started by moat train or moat val, or by torchrun "
                "with a script of yours; in one process name one device"
            )
        return Group(device=device)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    local_rank = int(os.environ.get("LOCAL_RANK", rank))
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    if not names:
        own = str(local_rank) if torch.cuda.is_available() else "cpu"
    elif names == ["cpu"] or len(names) == local_size:
        own = names[min(local_rank, len(names) - 1)]
    else:
        raise UserError(
            f"--device {','.join(names)}: {local_size} processes run on this node: name {local_size} devices, "
            "or leave it out"
        )
    chosen = choose_device(own)
    if rank:
        _hush()
        end_at_once()
    if not dist.is_initialized():
        dist.init_process_group(backend_of(chosen.type), timeout=TIMEOUT)
        atexit.register(dist.destroy_process_group)
    return Group(rank, size, local_size, own)


def backend_of(device_type: str) -> str:
    """Give what the processes exchange tensors by; objects go from CPU to CPU, whatever the tensors do."""
    return "gloo" if device_type == "cpu" else "cpu:gloo,cuda:nccl"


def _hush() -> None:
    """Leave the log to the first process, but for images that only this one has read."""
    LOGGER.setLevel(logging.ERROR)
    logging.getLogger("moat_det").setLevel(logging.ERROR)
    logging.getLogger("moat_det.data.loader.broken").setLevel(logging.WARNING)


def is_of_group(error: RuntimeError) -> bool:
    """Whether torch raised it because another process is gone."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)


@contextmanager
def lost_ranks_explained(group: Group) -> Iterator[None]:
    """Turn what torch raises when another process is gone into one line, which comes after that process's own.

    Raises:
        UserError: Another process ended, or has not answered for `TIMEOUT`.
    """
    try:
        yield
    except RuntimeError as error:
        if group.size == 1 or not is_of_group(error):
            raise
        time.sleep(_GRACE)  # in which this one is ended, mostly, and the line of the other stands alone
        raise UserError(
            f"process {group.rank} of {group.size} waits for another that ended or has not answered for "
            f"{TIMEOUT.seconds // 60} minutes: its own line, perhaps on another node, says why; go on with --resume"
        ) from error
