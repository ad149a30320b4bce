"""The average of the weights that is measured and saved."""

from __future__ import annotations

import math

from ultralytics.utils.torch_utils import ModelEMA


def set_decay(average: ModelEMA, decay: float, tau: float) -> None:
    """Set how fast an exponential average follows the weights: slower with each step, as the first are soon outdated.

    Args:
        average: The engine's.
        decay: Share that is kept at a step after very many; with 0 the average is the weights themselves.
        tau: Steps after which 63 % of that is reached.
    """
    average.decay = lambda steps: decay * (1 - math.exp(-steps / tau))
