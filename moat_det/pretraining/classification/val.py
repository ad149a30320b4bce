"""Measuring a classifier on pictures whose classes are known."""

from __future__ import annotations

import logging
from pathlib import Path

from moat_det.data.loader.loader import killed_workers_explained
from moat_det.engine.device import choose_one_device
from moat_det.files import claim_folder
from moat_det.paths import PROJECT
from moat_det.pretraining.batches import worker_count
from moat_det.pretraining.classification.dataset import PictureDataset
from moat_det.pretraining.classification.folders import find_measured
from moat_det.pretraining.classification.trained import TrainedClassifier
from moat_det.pretraining.classification.validation import table, validate, write_validation
from moat_det.pretraining.options import RunPlace

logger = logging.getLogger(__name__)


def validate_classifier(classifier: TrainedClassifier, data: str, batch: int, place: RunPlace) -> Path:
    """Measure a classifier.

    Args:
        classifier: To measure.
        data: As `find_measured` takes it.
        batch: Pictures of a pass.
        place: Where.

    Returns:
        The folder with `metrics.json` and `confusion_matrix.png`.

    Raises:
        UserError: The pictures' classes are others than the classifier's, or none can be read.
    """
    device = choose_one_device(place.device)
    pictures, intensity = find_measured(data, classifier.names, classifier.intensity, classifier.learnt)
    dataset = PictureDataset(pictures, intensity, classifier.look)
    with killed_workers_explained():
        metrics = validate(classifier.model.to(device), dataset, batch, worker_count(place, device), device)
    folder = claim_folder(Path(place.project or PROJECT, place.name or "classify-val"), place.exist_ok)
    write_validation(folder, metrics, classifier.names)
    print(table(metrics, classifier.names))
    logger.info(f"written to {folder}")
    return folder
