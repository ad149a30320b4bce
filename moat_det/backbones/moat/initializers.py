"""What the kernels of a MOAT may be drawn from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn


def _lecun_normal(kernel: Tensor) -> None:
    nn.init.normal_(kernel, std=kernel[0].numel() ** -0.5)


KERNELS: dict[str, Callable[[Tensor], object]] = {
    "normal": partial(nn.init.normal_, std=0.02),
    "trunc_normal": partial(nn.init.trunc_normal_, std=0.02, a=-0.04, b=0.04),
    "lecun_normal": _lecun_normal,
    "he_normal": partial(nn.init.kaiming_normal_, mode="fan_in", nonlinearity="relu"),
    "xavier_uniform": nn.init.xavier_uniform_,
}
"""By name: normal(0, 0.02), which is the official choice; the same without its tails; and three that keep the variance:
of a layer's input, of an input behind a ReLU, of input and gradient alike."""

OFFICIAL = "normal"
KEEPS_VARIANCE = "lecun_normal"
