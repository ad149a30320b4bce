"""The engine's detection loss on boxes whose distances follow the head's scale."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.loss import BboxLoss, v8DetectionLoss
from ultralytics.utils.metrics import bbox_iou
from ultralytics.utils.tal import bbox2dist

from moat_det.detector.distances import DistanceScale


class BoxLoss(BboxLoss):
    """CIoU of the boxes in strides, DFL (Li et al., arXiv 2006.04388) of their distances in bins.

    Args:
        reg_max: Number of bins; with 1 there is no distribution, and the engine's L1 loss takes the place of DFL.
        scale: What the bins stand for.
    """

    def __init__(self, reg_max: int, scale: DistanceScale) -> None:
        super().__init__(reg_max)
        self.scale = scale

    def forward(
        self,
        pred_dist: Tensor,
        pred_bboxes: Tensor,
        anchor_points: Tensor,
        target_bboxes: Tensor,
        target_scores: Tensor,
        target_scores_sum: Tensor,
        fg_mask: Tensor,
        imgsz: Tensor,
        stride: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Compute both losses over the anchor points that have an object.

        Args:
            pred_dist: (B, A, 4 * reg_max) before the softmax.
            pred_bboxes: (B, A, 4) x1, y1, x2, y2 in strides, and so
            anchor_points: (A, 2) and
            target_bboxes: (B, A, 4).
            target_scores: (B, A, nc): their sum over the classes weighs an anchor point.
            target_scores_sum: What the losses are divided by.
            fg_mask: (B, A), the anchor points that have an object.
            imgsz: Height and width in pixels.
            stride: (A, 1) in pixels.
        """
        if self.dfl_loss is None:
            return super().forward(
                pred_dist,
                pred_bboxes,
                anchor_points,
                target_bboxes,
                target_scores,
                target_scores_sum,
                fg_mask,
                imgsz,
                stride,
            )
        image, point = fg_mask.nonzero(as_tuple=True)
        weight = target_scores[image, point].sum(-1, keepdim=True)
        target = target_bboxes[image, point]
        ciou = bbox_iou(pred_bboxes[image, point], target, xywh=False, CIoU=True)
        bins = self.scale.to_bins(bbox2dist(anchor_points[point], target))  # the DFL clamps what lies out of reach
        dfl = self.dfl_loss(pred_dist[image, point].view(-1, self.dfl_loss.reg_max), bins)
        return ((1 - ciou) * weight).sum() / target_scores_sum, (dfl * weight).sum() / target_scores_sum


class DetectionLoss(v8DetectionLoss):
    """Task-aligned assignment, then classification, CIoU and distribution losses.

    Args:
        model: A `Detector`; its `args` hold the weights `box`, `cls` and `dfl`.
    """

    def __init__(self, model: DetectionModel) -> None:
        super().__init__(model, tal_topk=model.assigner.topk)
        self.assigner.alpha, self.assigner.beta = model.assigner.alpha, model.assigner.beta
        self.assigner.register_forward_pre_hook(self._take_at_most_all)
        self._topk: int = model.assigner.topk
        self.scale: DistanceScale = model.head.scale
        self.bbox_loss = BoxLoss(self.reg_max, self.scale).to(self.device)

    def _take_at_most_all(self, assigner: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Let the assigner take all points where a small image has fewer than its `topk`; scores are (B, A, nc)."""
        self.assigner.topk = self.assigner.topk2 = min(self._topk, inputs[0].shape[1])

    def bbox_decode(self, anchor_points: Tensor, pred_dist: Tensor) -> Tensor:
        """Make boxes (B, A, 4), x1, y1, x2, y2 in strides, of raw outputs (B, A, 4 * reg_max)."""
        # About the origin, the corners of a box are its distances with a sign, which the scale keeps.
        corners = super().bbox_decode(torch.zeros_like(anchor_points), pred_dist)
        return anchor_points.repeat(1, 2) + self.scale.to_strides(corners)
