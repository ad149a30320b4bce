"""How much memory a pass will need, before it runs, and how much there is."""

from __future__ import annotations

import weakref
from copy import deepcopy
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from moat_det.memory import free_memory

# What kernels, their caches and the allocator take beside the tensors: 4 to 27 MiB were measured for tiny_moat0 and
# tiny_moat0-p2 at 640 and 1280 px, in float32 and in bfloat16, over six passes.
OVERHEAD = 12 * 2**20

# Strides and the like, whose values decide what is computed.
_SMALL = 64


def predict_memory(model: nn.Module, shape: tuple[int, int, int, int], dtype: torch.dtype = torch.uint8) -> int:
    """Predict the memory that a pass for inference needs at its peak, beside what the process uses already.

    The model runs on tensors without content (torch's fake tensors), while the bytes of all that are alive are counted:
    whatever the backbone, its windows, its number format and its levels. It takes about half a second at any size.
    On a CPU it holds where freed memory goes back to the system (see `moat_det.allocator`). Images of less than
    about 500 x 500 pixels are predicted too high, by up to the `OVERHEAD`.

    Args:
        model: In evaluation mode, on the device and in the number format of the pass.
        shape: Of the images, (B, C, H, W).
        dtype: Of the images.

    Returns:
        Bytes, within 25 % of what the operating system measures; the images are among them.
    """
    device = next(model.parameters()).device
    tensors = chain(model.parameters(), model.buffers())
    # A copy of the modules around the same tensors: what they keep of a pass (caches, anchor points) is fake as well.
    model = deepcopy(model, {id(tensor): tensor for tensor in tensors})
    with torch.inference_mode(), FakeTensorMode(allow_non_fake_inputs=True), _LiveBytes() as count:
        model(torch.empty(shape, dtype=dtype, device=device))
    return count.peak + OVERHEAD


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive.

    Attributes:
        peak: The most so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._live = 0
        self._storages: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        if given and all(not isinstance(tensor, FakeTensor) and tensor.numel() <= _SMALL for tensor in given):
            with unset_fake_temporarily():
                result = func(*args, **kwargs)
        else:
            result = func(*args, **kwargs)
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._add(leaf.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._storages:
            return

        def freed(_: object) -> None:
            del self._storages[key]
            self._live -= size

        self._storages[key] = weakref.ref(storage, freed)
        self._live += size
        self.peak = max(self.peak, self._live)


def available_memory(device: torch.device) -> int:
    """Give the bytes that this process may still take: of the GPU, or of the machine and its control groups."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free_memory()
