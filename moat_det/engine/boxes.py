"""Detections, from the pixels of the model's input to those of the image's file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from moat_det.data.sizes.letterbox import Placement


def in_file(detections: Tensor, place: Placement, size: Sequence[int]) -> Tensor:
    """Bring the detections of an image into its file's pixels.

    Args:
        detections: (N, 6): x1, y1, x2, y2 in pixels of the input, score, class.
        place: Where the image lies in the input, from where the image was put there.
        size: Height and width of the image, within which the boxes are cut off.
    """
    height, width = size[:2]
    corners = place.to_image(detections[:, :4].cpu().numpy()).clip(0, [width, height, width, height])
    moved = torch.from_numpy(corners.astype(np.float32)).to(detections.device)
    return torch.cat([moved, detections[:, 4:6]], dim=1)
