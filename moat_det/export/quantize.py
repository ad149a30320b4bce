"""INT8 by NNCF: ranges are measured on the user's own images, weights and activations become bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from moat_det.errors import UserError


def quantize(model: Any, calibration: Sequence[np.ndarray], head: Sequence[str]) -> Any:
    """Quantise a model of OpenVINO's.

    The head stays as it is: a score of a thousand classes, and a box of a few bins, are sums that bytes cannot hold.

    Args:
        model: Of `openvino.convert_model`.
        calibration: Inputs (1, C, H, W) uint8 to measure ranges on.
        head: Names of the nodes of the head.

    Raises:
        UserError: NNCF is not installed.
    """
    try:
        import nncf
    except ModuleNotFoundError:
        raise UserError("--precision int8 needs the package nncf: pip install 'moat_det[int8]'") from None
    known = {operation.get_friendly_name() for operation in model.get_ops()}
    return nncf.quantize(
        model,
        nncf.Dataset(list(calibration)),
        model_type=nncf.ModelType.TRANSFORMER,
        ignored_scope=nncf.IgnoredScope(names=[name for name in head if name in known]),
        subset_size=len(calibration),
    )
