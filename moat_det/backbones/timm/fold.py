"""Batch norms of any network folded into the convolutions before them, found by watching a pass."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from moat_det.backbones.fold import fold_behind
from moat_det.backbones.timm.strided import STRIDED

# Whose kernel is what the convolution multiplies with: in others it is made anew in each pass.
_PLAIN = (nn.Conv2d, Conv2dSame, *STRIDED)
_NORMS = (nn.BatchNorm2d, BatchNormAct2d)


def fold_norms(net: nn.Module, image: Tensor) -> None:
    """Fold every batch norm that alone reads what a convolution gives, in place, for inference alone.

    A norm of timm's holds the activation behind it, which stays.

    Args:
        net: In evaluation mode.
        image: (B, C, H, W) that it takes.
    """
    names = {module: name for name, module in net.named_modules()}
    for conv, norm in _pairs(net, image):
        fold_behind(conv, norm)
        parent, _, leaf = names[norm].rpartition(".")
        setattr(net.get_submodule(parent), leaf, getattr(norm, "act", nn.Identity()))


def _pairs(net: nn.Module, image: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Give the convolutions whose result goes into one norm and nowhere else, each with its norm."""
    made_by: dict[int, nn.Conv2d] = {}
    pairs: list[tuple[int, nn.BatchNorm2d]] = []
    alive: list[Tensor] = []  # so that nothing after it gets the identity of a result
    reads = _Reads()
    calls: Counter[nn.Module] = Counter()

    def after_conv(conv: nn.Module, _: Any, result: Tensor) -> None:
        assert isinstance(conv, nn.Conv2d)
        made_by[id(result)] = conv
        alive.append(result)
        reads.counts[id(result)] = 0  # another tensor may have had its identity before
        calls[conv] += 1

    def before_norm(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        calls[norm] += 1
        if id(inputs[0]) in made_by:
            pairs.append((id(inputs[0]), norm))

    hooks = [m.register_forward_hook(after_conv) for m in net.modules() if type(m) in _PLAIN]
    hooks += [m.register_forward_pre_hook(before_norm) for m in net.modules() if type(m) in _NORMS]
    try:
        with torch.no_grad(), reads:
            net(image)
    finally:
        for hook in hooks:
            hook.remove()
    return [
        (made_by[result], norm)
        for result, norm in pairs
        if reads.counts[result] == 1 and calls[norm] == calls[made_by[result]] == 1
    ]


class _Reads(TorchFunctionMode):
    """Counts the functions that make a tensor of each tensor.

    Attributes:
        counts: By the tensor's `id`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[int] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if _tensors(result):
            self.counts.update(map(id, _tensors((args, kwargs))))
        return result


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
