"""Non-maximum suppression without a clock: the same boxes whatever the machine's load and the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchvision.ops import box_convert, nms

_FIRST = 4096  # candidates of the first comparison; each further one takes
_GROWTH = 4  # times as many


class Suppressed(NamedTuple):
    """What suppression leaves of each image.

    Attributes:
        kept: For each image (N, 6): x1, y1, x2, y2 in pixels, score, class; by falling score, at most `max_det`.
        found: For each image the boxes found. Above `max_det` it is how many there are at least: where enough are
            found among the better candidates, the others are not looked at.
    """

    kept: list[Tensor]
    found: list[int]


def read_output(output: Any) -> tuple[Tensor, list[int] | None]:
    """Take from what a model returns its predictions, and the number of anchor points of each of its levels.

    Args:
        output: The predictions alone, or a sequence that begins with them and may go on with the raw outputs.

    Returns:
        Predictions (B, 4 + nc, A), and None where the raw outputs are missing (exports, test-time augmentation).
    """
    if isinstance(output, Tensor):
        return output, None
    raw = output[1] if len(output) > 1 else None
    if not isinstance(raw, Mapping) or "feats" not in raw:
        return output[0], None
    # Not `Size.numel()`, which makes torch.export take the sizes of its example for those of every input.
    return output[0], [prod(level.shape[-2:]) for level in raw["feats"]]


def non_max_suppression(
    predictions: Tensor,
    conf: float | Tensor,
    iou: float,
    *,
    level_sizes: Sequence[int] | None = None,
    classes: Sequence[int] | None = None,
    agnostic: bool = False,
    max_det: int = 300,
    max_candidates: int = 30_000,
) -> Suppressed:
    """Keep the best box of each heap, for every image on its own; an anchor point has one box, of its best class.

    A box that is not finite is none.

    Of equal scores the finer level goes first, then the earlier anchor point, then the lower class.

    Args:
        predictions: (B, 4 + nc, A): centre x, y, width, height in pixels, then scores in [0, 1].
        conf: Lowest score to consider, in [0, 1]; or one for each class (nc,).
        iou: Boxes of a class that overlap a better one by more than this go, in [0, 1].
        level_sizes: Anchor points of each level, which add up to A; None takes all as one level.
        classes: Consider only these.
        agnostic: Boxes suppress those of other classes too.
        max_det: Most boxes to return for an image.
        max_candidates: Most boxes of a level to compare, the best by score: the many points of a fine level shall
            not crowd out a coarse one.
    """
    sizes = [predictions.shape[2]] if level_sizes is None else list(level_sizes)
    result = Suppressed([], [])
    for image in predictions:
        levels = image.T.split(sizes)
        candidates = torch.cat([_candidates(x, conf, classes, max_candidates) for x in levels])
        candidates = candidates[_by_score(candidates[:, 4])]
        survivors = _survivors(candidates, iou, agnostic, max_det)
        result.kept.append(candidates[survivors[:max_det]])
        result.found.append(len(survivors))
    return result


def _candidates(level: Tensor, conf: float | Tensor, classes: Sequence[int] | None, max_candidates: int) -> Tensor:
    """Give the best boxes of a level (A, 4 + nc) by falling score, as (N, 6) like the result."""
    score, label = level[:, 4:].max(1)
    score = score.float()  # in a shorter format, a score just above `conf` would not be
    point = (score > (conf[label] if isinstance(conf, Tensor) else conf)).nonzero().squeeze(1)
    score, label = score[point], label[point]
    if not (finite := level[point, :4].isfinite().all(1)).all():
        point, label, score = point[finite], label[finite], score[finite]
    if classes is not None:
        wanted = torch.isin(label, torch.tensor(list(classes), device=label.device))
        point, label, score = point[wanted], label[wanted], score[wanted]
    best = _by_score(score)[:max_candidates]
    corners = box_convert(level[point[best], :4].float(), "cxcywh", "xyxy")
    return torch.cat((corners, score[best, None], label[best, None].float()), 1)


def _by_score(scores: Tensor) -> Tensor:
    return scores.argsort(descending=True, stable=True)


def _survivors(candidates: Tensor, iou: float, agnostic: bool, enough: int) -> Tensor:
    """Find the boxes that stay, of candidates (N, 6) by falling score: all, or the first if more than enough.

    Only better boxes decide whether one stays. So the best are compared first, and the rest only if too few of them
    stay: time grows with the square of the boxes that are compared and do not overlap.
    """
    compared = _FIRST
    while True:
        kept = _suppress(candidates[:compared], iou, agnostic)
        if len(kept) > enough or compared >= len(candidates):
            return kept
        compared *= _GROWTH


def _suppress(candidates: Tensor, iou: float, agnostic: bool) -> Tensor:
    """Find the boxes that no better one of their class overlaps.

    Classes are compared one by one. Shifting them apart, to compare all at once, costs coordinates their digits: at
    80 classes and 16,384 px float32 has steps of an eighth of a pixel.
    """
    boxes, scores = candidates[:, :4], candidates[:, 4]
    labels = torch.zeros_like(scores) if agnostic else candidates[:, 5]
    keep = torch.zeros_like(scores, dtype=torch.bool)
    counts = labels.unique(return_counts=True)[1]
    for members in labels.argsort(stable=True).split(counts.tolist()):
        keep[members[nms(boxes[members], scores[members], iou)]] = True
    return keep.nonzero().squeeze(1)
