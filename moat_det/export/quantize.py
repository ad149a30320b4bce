"""INT8 by NNCF: ranges are measured on the user's own images, weights and activations become bytes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import nncf

from moat_det.export.calibration import Calibration

MOST_LOST = 0.003
"""AP, in [0, 1], that the accuracy control may lose on the training's images: less than what the gate lets pass."""


def quantize(model: Any, calibration: Calibration, floats: Sequence[str]) -> Any:
    """Quantise a model of OpenVINO's.

    The ends stay as they are: the stem, with whose few channels all begins (in bytes it costs 1.3 points of AP on
    NEU-DET, all the others together 0.3), and the head, whose sums over bins and channels are boxes and scores.

    Args:
        model: As OpenVINO reads it.
        calibration: Images to measure ranges on; with its `ap` the layers that cost most are left float too.
        floats: Names of ONNX nodes that stay as they are.
    """
    # A convolution with a bias becomes an addition of that name, and "NAME/WithoutBiases" before it.
    kept = [name for each in model.get_ops() if (name := each.get_friendly_name()).split("/")[0] in set(floats)]
    images = nncf.Dataset(calibration.images, calibration.input)
    settings = {
        "model_type": nncf.ModelType.TRANSFORMER,
        "ignored_scope": nncf.IgnoredScope(names=kept),
        "subset_size": len(calibration.images),
    }

    measure = calibration.ap
    with _quiet():
        if measure is None:
            return nncf.quantize(model, images, **settings)

        def validate(compiled: Any, _: Iterable[Any]) -> tuple[float, None]:
            return measure(lambda images: compiled([images])[0]), None

        return nncf.quantize_with_accuracy_control(
            model, images, images, validate, max_drop=MOST_LOST, drop_type=nncf.DropType.ABSOLUTE, **settings
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what NNCF says of its own steps from the user."""
    logger = logging.getLogger("nncf")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
