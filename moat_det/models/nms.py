"""Non-maximum suppression without a clock: the same boxes whatever the machine's load and the batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_convert


def non_max_suppression(
    predictions: Tensor,
    conf: float,
    iou: float,
    *,
    classes: Sequence[int] | None = None,
    agnostic: bool = False,
    multi_label: bool = False,
    max_det: int = 300,
    max_candidates: int = 30_000,
) -> list[Tensor]:
    """Keep the best box of each heap, for every image on its own.

    Args:
        predictions: (B, 4 + nc, A): centre x, y, width, height in pixels, then scores in [0, 1].
        conf: Lowest score to consider, in [0, 1].
        iou: Boxes of a class that overlap a better one by more than this go, in [0, 1].
        classes: Consider only these.
        agnostic: Boxes suppress those of other classes too.
        multi_label: An anchor point may give one box for each class above `conf`, not only for its best.
        max_det: Most boxes to return for an image.
        max_candidates: Most boxes to compare, the best by score.

    Returns:
        For each image (N, 6): x1, y1, x2, y2 in pixels, score, class; by falling score.
    """
    results = []
    for image in predictions:
        boxes, scores = image[:4].T, image[4:].T
        if multi_label:
            anchor, label = (scores > conf).nonzero(as_tuple=True)
            score = scores[anchor, label]
        else:
            score, label = scores.max(1)
            anchor = (score > conf).nonzero().squeeze(1)
            score, label = score[anchor], label[anchor]
        if classes is not None:
            wanted = torch.isin(label, torch.tensor(list(classes), device=label.device))
            anchor, label, score = anchor[wanted], label[wanted], score[wanted]
        if len(score) > max_candidates:
            score, best = score.topk(max_candidates)
            anchor, label = anchor[best], label[best]
        corners = box_convert(boxes[anchor].float(), "cxcywh", "xyxy")
        groups = torch.zeros_like(label) if agnostic else label
        kept = batched_nms(corners, score.float(), groups, iou)[:max_det]
        results.append(torch.cat((corners[kept], score[kept, None].float(), label[kept, None].float()), 1))
    return results
