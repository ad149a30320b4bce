"""Comparing boxes of two runs, whatever order they come in."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torchvision.ops import box_iou


def assert_same_boxes(first: np.ndarray, second: np.ndarray, atol: float, score_atol: float | None = None) -> None:
    """Pair the boxes (N, 6) of an image by overlap within a class, and compare them.

    Args:
        first: Boxes as x1, y1, x2, y2, score, class.
        second: Boxes of the other run, in any order.
        atol: How far sides may lie apart, in pixels.
        score_atol: How far scores may lie apart; by default `atol`.
    """
    assert len(first) == len(second)
    ious = box_iou(*(torch.from_numpy(np.asarray(boxes)[:, :4].astype(np.float64)) for boxes in (first, second)))
    same_class = first[:, None, 5] == second[None, :, 5]
    apart = np.abs(first[:, None, :4] - second[None, :, :4]).max(axis=2)  # decides where boxes have no area
    nearness = np.where(same_class, np.nan_to_num(ious.numpy()) - 1e-4 * apart, -1e3)
    rows, columns = linear_sum_assignment(nearness, maximize=True)
    second = second[columns]
    np.testing.assert_array_equal(first[rows, 5], second[:, 5])
    np.testing.assert_allclose(first[rows, :4], second[:, :4], rtol=0, atol=atol)
    np.testing.assert_allclose(first[rows, 4], second[:, 4], rtol=0, atol=atol if score_atol is None else score_atol)
