"""The mean of the gradients of several processes."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from ultralytics.utils.torch_utils import TORCH_2_13


def share_gradients(model: nn.Module, compiled: bool, some_idle: bool) -> Any:
    """Wrap a model that is on its device, so that each backward pass leaves the mean of all processes' gradients.

    Args:
        model: To train; its weights become those of the first process.
        compiled: Whether torch compiled it.
        some_idle: Whether parameters may take no part in a pass; looking for them costs a little.
    """
    # The running statistics are those of the first process at the end of an epoch (`level_statistics`).
    apart: dict[str, Any] = {"forward_sync_buffers" if TORCH_2_13 else "broadcast_buffers": False}
    return DistributedDataParallel(
        model, find_unused_parameters=some_idle, static_graph=compiled and not some_idle, **apart
    )
