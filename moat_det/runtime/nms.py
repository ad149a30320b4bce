"""Non-maximum suppression in NumPy: box for box what `detector/nms.py` gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_FIRST = 4096  # candidates of the first comparison; each further one takes
_GROWTH = 4  # times as many
_MOST_OF_A_LEVEL = 30_000


def non_max_suppression(
    predictions: np.ndarray,
    conf: float | np.ndarray,
    iou: float,
    *,
    level_sizes: Sequence[int],
    classes: Sequence[int] | None = None,
    agnostic: bool = False,
    max_det: int = 300,
) -> tuple[np.ndarray, int]:
    """Keep the best box of each heap in one image; an anchor point has one box, of its best class.

    A box that is not finite is none. Of equal scores the finer level goes first, then the earlier anchor point, then
    the lower class.

    Args:
        predictions: (4 + nc, A) float32: centre x, y, width, height in pixels, then scores in [0, 1].
        conf: Lowest score to consider, in [0, 1]; or one for each class (nc,).
        iou: Boxes of a class that overlap a better one by more than this go, in [0, 1].
        level_sizes: Anchor points of each level, which add up to A.
        classes: Consider only these.
        agnostic: Boxes suppress those of other classes too.
        max_det: Most boxes to return.

    Returns:
        (N, 6) float32: x1, y1, x2, y2 in pixels, score, class, by falling score; and how many were found, at least.
    """
    ends = np.cumsum(level_sizes)[:-1]
    levels = np.split(predictions.T, ends)
    candidates = np.concatenate([_candidates(level, conf, classes) for level in levels])
    candidates = candidates[_by_score(candidates[:, 4])]
    survivors = _survivors(candidates, iou, agnostic, max_det)
    return candidates[survivors[:max_det]], len(survivors)


def _candidates(level: np.ndarray, conf: float | np.ndarray, classes: Sequence[int] | None) -> np.ndarray:
    """Give the best boxes of a level (A, 4 + nc) by falling score, as (N, 6) like the result."""
    label = level[:, 4:].argmax(1)
    score = level[np.arange(len(level)), 4 + label]
    # The thresholds are compared as float32, which the scores are.
    least = np.asarray(conf, np.float32)
    wanted = (score > (least[label] if least.ndim else least)) & np.isfinite(level[:, :4]).all(1)
    if classes is not None:
        wanted &= np.isin(label, list(classes))
    point = wanted.nonzero()[0]
    point = point[_by_score(score[point])[:_MOST_OF_A_LEVEL]]
    centre, half = level[point, :2], level[point, 2:4] * np.float32(0.5)
    columns = (centre - half, centre + half, score[point, None], label[point, None].astype(np.float32))
    return np.concatenate(columns, axis=1, dtype=np.float32)


def _by_score(scores: np.ndarray) -> np.ndarray:
    return np.argsort(-scores, kind="stable")


def _survivors(candidates: np.ndarray, iou: float, agnostic: bool, enough: int) -> np.ndarray:
    """Find the boxes that stay, of candidates (N, 6) by falling score: all, or the first if more than enough."""
    compared = _FIRST
    while True:
        kept = _suppress(candidates[:compared], iou, agnostic)
        if len(kept) > enough or compared >= len(candidates):
            return kept
        compared *= _GROWTH


def _suppress(candidates: np.ndarray, iou: float, agnostic: bool) -> np.ndarray:
    """Find the boxes that no better one of their class overlaps."""
    keep = np.zeros(len(candidates), dtype=bool)
    labels = np.zeros(len(candidates)) if agnostic else candidates[:, 5]
    for label in np.unique(labels):
        members = (labels == label).nonzero()[0]
        keep[members[_greedy(candidates[members, :4], iou)]] = True
    return keep.nonzero()[0]


def _greedy(boxes: np.ndarray, iou: float) -> list[int]:
    """Take the best box (of (N, 4), the best first), strike out what overlaps it, and so on."""
    low, high = boxes[:, :2], boxes[:, 2:]
    areas = (high - low).prod(1)
    alive, kept = np.arange(len(boxes)), []
    while len(alive):
        best, rest = alive[0], alive[1:]
        kept.append(int(best))
        common = (np.minimum(high[best], high[rest]) - np.maximum(low[best], low[rest])).clip(0).prod(1)
        with np.errstate(invalid="ignore", divide="ignore"):  # two boxes without area do not overlap
            overlap = common / (areas[best] + areas[rest] - common)
        alive = rest[~(overlap.astype(np.float64) > iou)]
    return kept
