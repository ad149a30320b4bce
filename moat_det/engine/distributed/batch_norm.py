"""Batch norms where several processes share a batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from moat_det.engine.distributed.group import Group
from moat_det.errors import UserError


class SyncBatchNorm(nn.BatchNorm2d):
    """A batch norm over the images of all processes, on CPUs too, which torch's own refuses.

    Attributes:
        counts: Whether this process's images do; not those of a batch with fewer images than processes.
    """

    counts = True

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W) by the mean and variance of all processes, or by the running ones in evaluation."""
        if not self.training:
            return super().forward(x)
        assert self.momentum is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        wide = x.to(self.weight.dtype)
        cells = wide.new_full((1,), float(x.numel() // x.shape[1]))
        *sums, count = torch.split(_sum_over_ranks(torch.cat([wide.sum((0, 2, 3)), cells]) * self.counts), x.shape[1])
        centred = wide - (sums[0] / count).view(1, -1, 1, 1)
        # From the centred values, by a second sum: the mean square less the squared mean would lose digits.
        variance = _sum_over_ranks(centred.square().sum((0, 2, 3)) * self.counts) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(sums[0] / count, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = (self.weight * (variance + self.eps).rsqrt()).view(1, -1, 1, 1)
        return (centred * scale + self.bias.view(1, -1, 1, 1)).to(x.dtype)


class SyncBatchNormAct(SyncBatchNorm):
    """The same with what timm's `BatchNormAct2d` has behind the norm: `drop`, and the activation `act`."""

    drop: nn.Module
    act: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W), drop, and activate."""
        activated: Tensor = self.act(self.drop(super().forward(x)))
        return activated


def synchronize(model: nn.Module) -> None:
    """Turn every batch norm of a model into one over all processes, with the same tensors.

    Raises:
        UserError: It has a kind of batch norm that is not known here.
    """
    for parent in list(model.modules()):
        for name, norm in parent.named_children():
            if isinstance(norm, nn.BatchNorm2d):
                kind = _KINDS.get(type(norm).__name__)
                if kind is None:
                    raise UserError(
                        f"--sync-bn: the model has batch norms of the kind {type(norm).__name__}, whose statistics "
                        "cannot be taken of several processes; leave it out"
                    )
                other = kind(norm.num_features, norm.eps, norm.momentum, device="meta").train(norm.training)
                other._parameters, other._buffers = norm._parameters, norm._buffers
                other._modules = norm._modules
                setattr(parent, name, other)


_KINDS = {"BatchNorm2d": SyncBatchNorm, "BatchNormAct2d": SyncBatchNormAct}
"""By the name of the class, since timm need not be there."""


def level_statistics(model: nn.Module, group: Group) -> None:
    """Give all processes the running statistics of the first, which writes the checkpoints."""
    for norm in _norms(model):
        for tensor in norm.buffers():
            group.copy_from_first(tensor)


def _norms(model: nn.Module) -> Iterator[nn.BatchNorm2d]:
    return (module for module in model.modules() if isinstance(module, nn.BatchNorm2d))


class _SumOverRanks(torch.autograd.Function):
    """A sum over the processes: each one's tensor is in the result, and so in the loss, of every one."""

    @staticmethod
    def forward(context: Any, tensor: Tensor) -> Tensor:
        return _summed(tensor)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return _summed(gradient)


def _summed(tensor: Tensor) -> Tensor:
    total = tensor.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


def _sum_over_ranks(tensor: Tensor) -> Tensor:
    return _SumOverRanks.apply(tensor)
