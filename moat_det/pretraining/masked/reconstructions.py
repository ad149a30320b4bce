"""A sheet that shows whether the model learns: pictures, what it sees of them, and what it makes of the rest."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from moat_det.data.images.shown import shown_bands
from moat_det.files import atomic_write_bytes
from moat_det.pretraining.masked.model import STRIDES, MaskedModel, hide, spread, targets
from moat_det.report.pictures import sheet


@torch.inference_mode()
def draw_reconstructions(model: MaskedModel, images: Tensor, masks: Tensor, file: Path) -> None:
    """Write a sheet with a row for each picture: whole, as the model sees it, and as each of its maps completes it.

    Args:
        model: On the device of the pictures; its mode is as before afterwards.
        images: (B, C, H, W) uint8; of other than 3 bands what `shown_bands` takes is shown.
        masks: (B, h, w) bool.
        file: .jpg or .png, written atomically.

    Raises:
        OSError: It cannot be written.
    """
    training = model.training
    predictions = model.eval()(images, masks)
    model.train(training)
    _, mean, deviation = targets(images)
    hidden, pixels = spread(masks)[:, None], images.float() / 255
    completed = [torch.where(hidden, each.float() * deviation + mean, pixels) for each in predictions]
    columns = [pixels, hide(images, masks), *completed]
    pictures = [_picture(column[row]) for row in range(len(images)) for column in columns]
    high, wide = images.shape[2:]
    drawn = sheet(pictures, 2 + len(STRIDES), (high, wide))
    atomic_write_bytes(file, cv2.imencode(file.suffix, drawn[..., ::-1])[1].tobytes())


def _picture(image: Tensor) -> np.ndarray:
    """Give an image (C, H, W), in [0, 1] but for errors of prediction, as (H, W, 3) uint8."""
    return shown_bands((image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy())
