"""What is known of each part of a validation: score, number of defects, brightness and sharpness."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moat_det.errors import UserError
from moat_det.evaluation.drift.appearance import APPEARANCE
from moat_det.evaluation.inspection.parts import Parts, read_parts
from moat_det.evaluation.inspection.rule import Rule
from moat_det.evaluation.validation_folder import read_json, read_validation
from moat_det.values import is_number

MEASURES = {
    "score": "highest score of a part",
    "defects": "detections on a part from the threshold on",
    "brightness": "mean of the pixels",
    "sharpness": "variance of the Laplacian",
}
"""What is compared."""


def read_sample(folder: Path, rule: Rule, group: str | None = None) -> dict[str, np.ndarray]:
    """Read what a validation, or a detection by `moat drift`, measured of each part.

    Args:
        folder: Where it lies.
        rule: From its threshold on, or that of the class, a detection counts as a defect.
        group: A regular expression; images of one group are one part (see `read_parts`), of which the defects add up
            and brightness and sharpness are means.

    Returns:
        (N,) values by the names in `MEASURES`; brightness and sharpness are absent where the folder has none.

    Raises:
        UserError: It is no folder of a validation, holds no image, or a file of it is damaged.
    """
    run = read_validation(folder)
    parts = read_parts(run.ground_truth, run.predictions, group)
    if not len(parts):
        raise UserError(f"{folder}: a validation without images")
    counted = rule.counted(run.ground_truth, run.predictions)
    defects = [parts.of_image[found["image_id"]] for found in counted if found["score"] >= rule.threshold]
    sample = {"score": parts.scores, "defects": np.bincount(defects, minlength=len(parts)).astype(float)}
    if not (folder / APPEARANCE).exists():
        return sample
    seen = _read_appearance(folder, parts)
    owners = [parts.of_image[image_id] for image_id in seen["image_id"]]
    return {**sample, **{name: _means(owners, seen[name], len(parts)) for name in ("brightness", "sharpness")}}


def _read_appearance(folder: Path, parts: Parts) -> dict[str, list[Any]]:
    file = folder / APPEARANCE
    seen = read_json(file, folder)
    keys = ("image_id", "brightness", "sharpness")
    for key in keys:
        values = seen.get(key) if isinstance(seen, dict) else None
        if not isinstance(values, list) or not all(map(is_number, values)):
            raise UserError(f"{file}: has no list '{key}' of numbers; run moat val again")
    if len({len(seen[key]) for key in keys}) > 1 or not parts.of_image.keys() >= set(seen["image_id"]):
        raise UserError(f"{file}: its 'image_id' is not of the images of this validation; run moat val again")
    return seen


def _means(owners: Sequence[int], values: Sequence[float], parts: int) -> np.ndarray:
    total, count = np.bincount(owners, values, parts), np.bincount(owners, minlength=parts)
    return total[count > 0] / count[count > 0]
