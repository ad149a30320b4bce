"""Naming what is in pictures."""

from __future__ import annotations

import sys
from typing import Any

import torch
from tqdm import tqdm

from moat_det.data.images.depth import intensity_of_run
from moat_det.data.images.read import read_input
from moat_det.detection.source_files import tell_pictures
from moat_det.errors import UserError
from moat_det.pretraining.classification.trained import TrainedClassifier
from moat_det.progress import progress


def classify(classifier: TrainedClassifier, paths: list[str], top: int, device: torch.device) -> list[dict[str, Any]]:
    """Print the likeliest classes of each picture; name those that cannot be read.

    Returns:
        An entry for each picture that could be read: `file` and `classes` of `class`, `name`, `probability`.

    Raises:
        UserError: Not one could be read, or the classifier's scores are no numbers.
    """
    model, names = classifier.model.to(device), classifier.names
    intensity = intensity_of_run(classifier.intensity)
    results = []
    for path in progress(paths, text="classifying", unit="picture", leave=False):
        tell_pictures(path, channels=3)
        try:
            picture = read_input(path, intensity)
        except (OSError, UserError) as error:
            reason = str(error).removeprefix(f"{path}: ")
            tqdm.write(f"{path}: skipped: {reason}", file=sys.stderr)
            continue
        with torch.inference_mode():
            probabilities = model(classifier.look(picture)[None].to(device))[0].softmax(0)
        if probabilities.isnan().any():
            raise UserError(f"{path}: the classifier's scores are no numbers: train it with a lower --lr0")
        # Of equal probabilities the smaller class comes first, on every processor: topk leaves that open.
        values, classes = (part[:top] for part in probabilities.sort(descending=True, stable=True))
        likeliest = [
            {"class": index, "name": names[index], "probability": value}
            for index, value in zip(classes.tolist(), values.tolist(), strict=True)
        ]
        results.append({"file": path, "classes": likeliest})
        tqdm.write(f"{path}: " + ", ".join(f"{row['name']} {row['probability']:.1%}" for row in likeliest))
    if not results:
        raise UserError(f"none of the {len(paths)} pictures can be read")
    return results
