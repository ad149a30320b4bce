"""How long an image takes in a file and in its checkpoint, so that who uses the slower of the two can be told."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from statistics import median

import numpy as np
import torch

from moat_det.data.sizes.shape import Shape
from moat_det.export.graph import Predictions
from moat_det.runtime import RuntimeDetector
from moat_det.runtime.speed import Speed

_PASSES = 5


def measure_speed(exported: RuntimeDetector, model: Predictions, shape: Shape) -> Speed:
    """Measure passes over an image, of the one and the other in turns.

    Args:
        exported: The file.
        model: Of the checkpoint; not changed.
        shape: Of the image: height and width.
    """
    detector = deepcopy(model.detector)
    detector.prepare(torch.device("cpu"))  # as detection does
    images = np.zeros((1, detector.yaml["channels"], *shape), np.uint8)

    def checkpoint() -> None:
        with torch.inference_mode():
            detector(torch.from_numpy(images))

    passes: dict[str, Callable[[], object]] = {"file": lambda: exported.infer(list(images)), "checkpoint": checkpoint}
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(1 + _PASSES):
        for name, run in passes.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return Speed(**{name: median(taken[1:]) for name, taken in seconds.items()})
