"""Which number format a model trains fastest in, measured on the model itself."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from moat_det.engine.batch_statistics import MIN_IMAGES_FOR_BATCH_STATISTICS, follow_steps

WORTH_IT = 2000
"""Images that a training takes altogether, from which on the measurement costs it less than a fiftieth."""

_PIXELS = 4 * 224 * 224  # of a step that is timed: of fewer, what each layer costs in any format would choose
_ROUNDS = 3
# float32 is faster only by more than what two measurements of one thing differ by.
_NOISE = 1.05


def trains_faster_reduced(model: Any, shape: tuple[int, int, int], images: int) -> tuple[bool, str]:
    """Time training steps of a copy of a detector in its reduced format and in float32.

    Args:
        model: On the CPU, with a reduced `dtype`.
        shape: Bands, height and width of the images; the sides are multiples of its largest stride.
        images: Of a batch, in this process.

    Returns:
        Whether to keep the format, and the words for it.
    """
    count = timed_images(images, *shape[1:])
    with torch.random.fork_rng(devices=[]):  # the training draws what it would have drawn
        x = torch.rand(count, *shape)

        def step(timed: Any, dtype: torch.dtype) -> None:
            timed.dtype = dtype
            _step(timed, x)

        return time_formats(model, step, model.dtype, count)


def timed_images(images: int, height: int, width: int) -> int:
    """Give with how many images of a batch a step is timed."""
    return min(images, max(MIN_IMAGES_FOR_BATCH_STATISTICS, _PIXELS // (height * width)))


def time_formats(
    model: nn.Module, step: Callable[[nn.Module, torch.dtype], None], reduced: torch.dtype, images: int
) -> tuple[bool, str]:
    """Time training steps of a copy of a model in a reduced format and in float32, in turns.

    The processor's time counts, so that work beside it, which comes and goes, does not choose.

    Args:
        model: On the CPU.
        step: Does one with the copy, forward and backward, in a format.
        reduced: The format beside float32.
        images: Of a step.

    Returns:
        Whether to keep the reduced format, and the words for it.
    """
    timed = copy.deepcopy(model).train()
    norms = [module for module in timed.modules() if isinstance(module, nn.BatchNorm2d)]
    follow_steps(norms, images, norms)  # too few images have no statistics
    taken: dict[torch.dtype, list[float]] = {reduced: [], torch.float32: []}
    for turn in range(_ROUNDS + 1):
        for dtype, seconds in taken.items():
            start = time.process_time()
            step(timed, dtype)
            if turn:  # the first compiles kernels
                seconds.append(time.process_time() - start)
    few, many = min(taken[reduced]), min(taken[torch.float32])
    keeps = few < many * _NOISE
    name = str(reduced).removeprefix("torch.")
    return keeps, (
        f"trained in {name if keeps else 'float32'}: {images} images forward and backward took {few:.2g} s of "
        f"processor time in {name}, {many:.2g} s in float32"
    )


def _step(model: Any, x: Tensor) -> None:
    outputs = [output for output in _outputs(model(x)) if output.requires_grad]
    sum(output.float().square().mean() for output in outputs).backward()  # type: ignore[union-attr]
    model.zero_grad(set_to_none=True)


def _outputs(result: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
