"""A classifier that was trained: ours, or a released one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torchvision.models import ResNet50_Weights

from moat_det.backbones.moat.create import create_moat
from moat_det.backbones.weights.files import HEAD, is_pretraining, open_weights
from moat_det.backbones.weights.find import find_weights
from moat_det.backbones.weights.identify import classes_of, has_tables, identify
from moat_det.backbones.weights.load import load
from moat_det.backbones.weights.releases import release_name
from moat_det.data.images.intensity import Intensity
from moat_det.engine.checkpoint import is_checkpoint
from moat_det.errors import UserError
from moat_det.messages import one_line
from moat_det.pretraining.checkpoint import BackboneCheckpoint, load_backbone_checkpoint
from moat_det.pretraining.classification.model import Classifier, build_classifier
from moat_det.pretraining.classification.task import NAME
from moat_det.pretraining.classification.views import view_tensor

IMAGENET_PART = 224 / 256
"""Part of the shorter side that the square in the middle takes, the usual one of ImageNet's evaluation."""


@dataclass(frozen=True)
class TrainedClassifier:
    """A classifier and what its use depends on.

    Attributes:
        model: In evaluation mode.
        names: Of the classes.
        imgsz: Side of the square that a picture becomes, in pixels.
        view: Which part of a picture that is, as `view` takes it.
        intensity: How more than 8 bits become 8.
        learnt: What it learnt from, as `find_measured` takes it; None where that is not known.
    """

    model: Classifier
    names: Sequence[str]
    imgsz: int
    view: float | None
    intensity: Intensity
    learnt: Mapping[str, Any] | None = None

    def look(self, picture: np.ndarray) -> Tensor:
        """Give the model's input (3, S, S), uint8, of a picture (H, W, 3), uint8, BGR."""
        return view_tensor(self.imgsz, self.view, picture)


def load_classifier(weights: str, backbone: str | None = None) -> TrainedClassifier:
    """Load a classifier.

    Args:
        weights: A path, a name of a released checkpoint, or "imagenet".
        backbone: The variant, which "imagenet" does not tell; with a file it must be the file's.

    Raises:
        UserError: The weights cannot be had or read, are of another variant, or have no classification head.
    """
    if is_checkpoint(weights):
        raise UserError(f"{weights} is a detector: moat detect and moat val take it; give weights of a classifier")
    if not is_pretraining(weights):
        return _load_released(weights, backbone)
    checkpoint = load_backbone_checkpoint(weights, NAME)
    name = checkpoint.backbone["name"]
    if backbone not in (None, name):
        raise UserError(f"--backbone {backbone}: {weights} holds {name}; leave it out")
    return of_checkpoint(checkpoint, weights)


def of_checkpoint(checkpoint: BackboneCheckpoint, path: str | Path) -> TrainedClassifier:
    """Build the classifier of a checkpoint that was read from `path`; raises `UserError` where it does not fit."""
    settings = checkpoint.settings
    names = settings["names"]
    model = build_classifier(checkpoint.backbone, len(names))
    try:
        model.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        raise UserError(f"{path}: the weights do not fit their backbone: {one_line(error)}") from None
    intensity = Intensity.from_dict(checkpoint.intensity)
    return TrainedClassifier(model.eval(), names, checkpoint.imgsz, settings["view"], intensity, settings.get("learnt"))


def _load_released(weights: str, backbone: str | None) -> TrainedClassifier:
    if weights == "imagenet":
        if backbone is None:
            raise UserError("--weights imagenet: name a variant as well, such as --backbone moat0")
        weights = release_name(backbone, position_embedding=True)
    path = find_weights(weights)
    with open_weights(path) as file:
        variant, classes = backbone or identify(file), classes_of(file)
        if variant is None:
            raise UserError(f"{path}: its weights are of no variant by their shapes; name one with --backbone")
        if classes is None:
            raise UserError(f"{path} has no classification head: give weights of a classifier")
        tables = has_tables(file)
        whole = create_moat(variant, num_classes=classes, position_embedding=tables)
        load(whole, file)
    model = Classifier(create_moat(variant, pool_size=2, position_embedding=tables), classes)
    model.load_state_dict(
        {name if name.startswith(HEAD) else f"backbone.{name}": each for name, each in whole.state_dict().items()}
    )
    # ImageNet has 8 bits.
    return TrainedClassifier(model.eval(), _imagenet_names(classes), whole.variant.native, IMAGENET_PART, Intensity())


def _imagenet_names(count: int) -> list[str]:
    """Give ImageNet's names, or numbers where the classes are not ImageNet's 1000."""
    imagenet = ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
    return imagenet if count == len(imagenet) else [str(index) for index in range(count)]
