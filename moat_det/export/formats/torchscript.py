"""TorchScript, by tracing."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from moat_det.export.graph import Predictions, quiet


def write(model: Predictions, example: Tensor, file: Path) -> None:
    """Write the file, for inputs of the example's size; the numbers in it are float32.

    Raises:
        OSError: It cannot be written.
    """
    with torch.no_grad(), quiet():
        traced = torch.jit.trace(model, example, check_trace=False)
        torch.jit.save(torch.jit.freeze(traced.eval()), str(file))
