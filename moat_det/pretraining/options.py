"""The options of the loop, whatever is learnt."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from moat_det.data.seeds import SEEDS
from moat_det.errors import UserError
from moat_det.options import option
from moat_det.values import is_number


@dataclass(frozen=True)
class RunPlace:
    """Where and how a run is made; these may change when it goes on.

    Raises:
        UserError: A value is out of its range.
    """

    device: str | None = option(None, "cpu, or the number of a GPU (default: the first GPU, if there is one)")
    workers: int | None = option(None, "processes that read images (default: one per core up to 8 with a GPU, else 0)")
    project: str | None = option(None, "folder of the run's folder (default: runs)")
    name: str | None = option(None, "name of the run's folder (default: the command's)")
    exist_ok: bool = option(False, "write into the run's folder also where it exists")
    save_minutes: float = option(
        15.0, "also write last.pt amid an epoch, where it is older than so many minutes; 0 is off"
    )

    def __post_init__(self) -> None:
        """Check the values."""
        check_range("workers", self.workers or 0, 0, 1024)
        check_range("save_minutes", self.save_minutes, 0, math.inf, below=True)


@dataclass(frozen=True)
class LoopOptions:
    """How a backbone is trained.

    Raises:
        UserError: A value is out of its range.
    """

    epochs: int = option(100, "passes over the images")
    batch: int = option(64, "images of a batch")
    accumulate: int = option(1, "batches whose gradients a step gathers")
    optimizer: str = option("AdamW", "AdamW, Adam, NAdam, RAdam, RMSprop or SGD")
    lr0: float = option(1e-3, "learning rate after the warm-up")
    lrf: float = option(0.01, "what is left of it at the end, as a share; it falls by a cosine")
    warmup_epochs: float | None = option(None, "epochs in which it rises (default: a tenth of them, at most 5)")
    momentum: float = option(0.9, "momentum, or Adam's first beta")
    weight_decay: float = option(0.05, "weight decay of kernels and matrices")
    layer_decay: float = option(1.0, "factor on the learning rate for each layer from head to stem, e.g. 0.8; 1 is off")
    clip: float = option(1.0, "largest norm of the gradients; 0 is off")
    ema: float = option(0.9999, "decay of the weights' average, once there were some thousand steps; 0 is off")
    amp: bool = option(True, "compute in bfloat16 where the device does so in hardware, and a CPU this model faster")
    seed: int = option(0, "of all that is random")

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("epochs", "batch", "accumulate"):
            check_range(name, getattr(self, name), 1, 2**31)
        check_range("lr0", self.lr0, 0, math.inf, above=True, below=True)
        check_range("lrf", self.lrf, 0, 1)
        check_range("layer_decay", self.layer_decay, 0, 1, above=True)
        for name in ("momentum", "ema"):
            check_range(name, getattr(self, name), 0, 1, below=True)
        for name in ("weight_decay", "clip"):
            check_range(name, getattr(self, name), 0, math.inf, below=True)
        check_range("seed", self.seed, 0, SEEDS, below=True)
        if self.warmup_epochs is not None:
            check_range("warmup_epochs", self.warmup_epochs, 0, self.epochs)


def check_range(name: str, value: Any, least: float, most: float, above: bool = False, below: bool = False) -> None:
    """Raise `UserError` where an option's value is no number of its range.

    Args:
        name: Of the option.
        value: What was given.
        least: The lowest value.
        most: The highest.
        above: It must be above the lowest.
        below: It must be below the highest.
    """
    if not is_number(value) or value < least or value > most or (above and value == least) or (below and value == most):
        low = f"above {least:g}" if above else f"{least:g} or more"
        high = "" if most in (math.inf, 2**31) else f", {'below' if below else 'at most'} {most:.10g}"
        raise UserError(f"--{name.replace('_', '-')} {value}: must be {low}{high}")
