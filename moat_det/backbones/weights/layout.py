"""How official checkpoints name and lay out what our state dict holds (names as the official model's in TF1)."""

from __future__ import annotations

import re
from collections.abc import Container

from torch import Tensor

from moat_det.backbones.moat.variants import HEAD_SIZE

AVERAGE = "/ExponentialMovingAverage"

_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}

# What optimizers keep beside each variable, by the names of TensorFlow's and of the AdamW of BERT.
_SLOTS = {
    *("Adam", "Adam_1", "AdamW", "AdamW_1", "adam_m", "adam_v", "m", "v", "vhat"),
    *("LAMB", "LAMB_1", "Momentum", "RMSProp", "RMSProp_1", "RMSProp_2", "Adagrad"),
}
_COUNTERS = re.compile(r"(?:.+/)?(?:global_step|beta[12]_power(?:_\d+)?)")


def variable_name(key: str) -> str:
    """Give the official name of a weight of ours: `stages.2.1.pre_norm.weight` is `moat/block_02_01/pre_norm/gamma`."""
    *path, leaf = key.split(".")
    if path[0] == "stages":
        path[:3] = [f"block_{int(path[1]):02d}_{int(path[2]):02d}"]
    module = path[-1]
    if "norm" in module:
        leaf = _NORM[leaf]
    elif module == "depthwise_conv":
        leaf = "depthwise_kernel"
    elif leaf == "weight" and ("conv" in module or module == "logits_head"):
        leaf = "kernel"
    return "/".join(["moat", *path, leaf])


def variable_view(key: str, tensor: Tensor) -> Tensor:
    """Give the tensor of a weight of ours as TensorFlow lays it out, without a copy: writing to it fills the weight.

    | ours | TensorFlow's |
    |---|---|
    | convolution (O, I, h, w) | (h, w, I, O) |
    | depthwise convolution (C, 1, h, w) | (h, w, C, 1) |
    | q, k, v: (N * 32, C), bias (N * 32) | (C, N, 32), (N, 32) |
    | o: (C, N * 32) | (N, 32, C) |
    | logits_head (classes, C) | (1, 1, C, classes) |
    | norms, other biases, position tables | the same |
    """
    module, leaf = key.split(".")[-2:]
    if module == "depthwise_conv":
        return tensor.permute(2, 3, 0, 1)
    if tensor.ndim == 4:
        return tensor.permute(2, 3, 1, 0)
    if module in {"q", "k", "v"}:
        return tensor.T.unflatten(1, (-1, HEAD_SIZE)) if leaf == "weight" else tensor.unflatten(0, (-1, HEAD_SIZE))
    if leaf == "weight" and module == "o":
        return tensor.T.unflatten(0, (-1, HEAD_SIZE))
    if leaf == "weight" and module == "logits_head":
        return tensor.T[None, None]
    return tensor


def is_of_training(name: str, variables: Container[str]) -> bool:
    """Whether a checkpoint's name is of the training and not of the network: an average, a slot, a counter.

    Args:
        name: The name in the checkpoint.
        variables: The names of the network's variables.
    """
    variable, _, slot = name.rpartition("/")
    if variable in variables and (f"/{slot}" == AVERAGE or slot in _SLOTS):
        return True
    return _COUNTERS.fullmatch(name) is not None
