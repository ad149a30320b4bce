"""Naming what is in pictures, with a classifier."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.models import ResNet50_Weights
from tqdm import tqdm

from moat_det.backbones.moat.backbone import MOATBackbone
from moat_det.backbones.moat.create import create_moat
from moat_det.backbones.weights.files import open_weights
from moat_det.backbones.weights.find import find_weights
from moat_det.backbones.weights.identify import classes_of, has_tables, identify
from moat_det.backbones.weights.load import load
from moat_det.backbones.weights.releases import release_name
from moat_det.data.images.depth import intensity_of_run
from moat_det.data.images.intensity import Intensity
from moat_det.data.images.read import read_input
from moat_det.detection.source_files import tell_pictures
from moat_det.errors import UserError
from moat_det.progress import progress

CROP = 224 / 256
"""Part of the shorter side that the square in the middle takes, the usual one of ImageNet's evaluation."""


def load_classifier(weights: str, backbone: str | None) -> MOATBackbone:
    """Build the classifier that the weights are of.

    Args:
        weights: A path, a name of a released checkpoint, or "imagenet".
        backbone: The variant, which "imagenet" does not tell; with a file it must be the file's.

    Raises:
        UserError: The weights cannot be had or read, are of another variant, or have no classification head.
    """
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
        model = create_moat(variant, num_classes=classes, position_embedding=has_tables(file))
        load(model, file)
    return model


def classify(model: MOATBackbone, paths: list[str], top: int) -> list[dict[str, Any]]:
    """Print the likeliest classes of each picture; name those that cannot be read.

    Returns:
        An entry for each picture that could be read: `file` and `classes` of `class`, `name`, `probability`.

    Raises:
        UserError: Not one could be read.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.eval().to(device)
    names = class_names(model.logits_head.out_features)
    intensity = intensity_of_run(Intensity())  # ImageNet has 8 bits
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
            probabilities = model(prepare(picture, model).to(device))[0].softmax(0)
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


def class_names(count: int) -> list[str]:
    """Give ImageNet's names, or numbers where the classes are not ImageNet's 1000."""
    imagenet = ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
    return imagenet if count == len(imagenet) else [str(index) for index in range(count)]


def prepare(picture: np.ndarray, model: MOATBackbone) -> Tensor:
    """Cut out the middle of a picture (H, W, 3), uint8, BGR, as the model's normalised input (1, 3, S, S)."""
    height, width = picture.shape[:2]
    half = CROP * min(height, width) / 2
    box = (width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half)
    side = model.variant.native
    square = Image.fromarray(picture[..., ::-1]).resize((side, side), Image.Resampling.BICUBIC, box)
    x = torch.from_numpy(np.array(square)).permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (model.mean, model.std))
    return (x - mean) / std
