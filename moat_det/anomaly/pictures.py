"""Heat maps for people: the part with what is unlike good parts coloured, and the score in words."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import ImageColor

from moat_det.detection.anomalies import UNLIKE, Anomaly
from moat_det.report.palette import VERMILLION
from moat_det.report.pictures import draw_caption

FAINT, FULL = 0.5, 2.0
"""Values between which colours rise, the same in every picture; where an image's score is higher, they rise to it, as
a strong defect tinges what is around it."""

_COVER = 0.65  # of the part by the strongest colour


def draw_heatmap(image: np.ndarray, values: np.ndarray, anomaly: Anomaly) -> np.ndarray:
    """Draw a heat map over an image, with the score, and a line around what is above 1 and above half the score.

    Args:
        image: (H, W, 3) uint8, BGR.
        values: (H, W) float32, the map.
        anomaly: Of the image.

    Returns:
        A new picture (H, W, 3) uint8, BGR.
    """
    heat = ((values - FAINT) / (max(FULL, anomaly.score) - FAINT)).clip(0, 1)
    colours = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    cover = (np.minimum(heat * 3, 1) * _COVER)[..., None].astype(np.float32)
    picture = np.ascontiguousarray((gray * (1 - cover) + colours * cover).astype(np.uint8))
    outlines, _ = cv2.findContours(
        (values > max(1, anomaly.score / 2)).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
    )
    width = max(round(max(image.shape[:2]) / 640), 1)
    cv2.drawContours(picture, outlines, -1, ImageColor.getrgb(VERMILLION)[::-1], width)
    return caption(picture, anomaly)


def caption(picture: np.ndarray, anomaly: Anomaly) -> np.ndarray:
    """Write the score of an image, and what it means, into a corner of a picture (H, W, 3), BGR; gives a new one."""
    words = "unlike the good parts" if anomaly.looks == UNLIKE else "as the good parts"
    drawn = draw_caption(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), f"{words} {anomaly.score:.2f}")
    return cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)
