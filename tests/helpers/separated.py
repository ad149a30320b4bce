"""A detector whose boxes and scores differ from point to point, whatever the processor's rounding."""

from __future__ import annotations

import torch
from torch import nn

from moat_det.detector.detector import Detector


def separate(detector: Detector) -> None:
    """Give the last layers of the head random weights, of which each point of an image makes another box and score.

    A model of few steps says nearly the same at every point: its boxes are all the whole image, its scores equal but
    for the last digits, and what is kept of them is chance. The norms before the head have to have seen images.
    """
    generator = torch.Generator().manual_seed(0)
    for box, score in zip(detector.head.cv2, detector.head.cv3, strict=True):
        with torch.no_grad():
            nn.init.normal_(box[-1].weight, std=0.3, generator=generator)
            nn.init.normal_(score[-1].weight, std=0.3, generator=generator)
            score[-1].bias.fill_(-1.0)
            box[-1].bias += torch.linspace(6, -6, len(box[-1].bias) // 4).repeat(4)  # smaller than the image
