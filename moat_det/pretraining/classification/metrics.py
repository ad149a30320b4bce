"""How good a classifier is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class ClassMetrics:
    """Figures of a validation.

    Attributes:
        images: Pictures that were looked at.
        unscored: How many of them have a score that is no number, which counts as wrong.
        top1: Share whose class is the likeliest.
        top5: Share whose class is among the five likeliest.
        true: (K,) pictures of each class.
        confusion: (K, K) counts, rows predicted, columns true; without the unscored.
    """

    images: int
    unscored: int
    top1: float
    top5: float
    true: np.ndarray
    confusion: np.ndarray

    def per_class(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Give pictures, recall and precision of each class; None where there is nothing to take a share of."""
        found, true, right = self.confusion.sum(1), self.true, self.confusion.diagonal()
        return {
            name: {
                "images": int(true[k]),
                "recall": float(right[k] / true[k]) if true[k] else None,
                "precision": float(right[k] / found[k]) if found[k] else None,
            }
            for k, name in enumerate(names)
        }

    def to_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """Give plain types, as `metrics.json` holds them."""
        return {"images": self.images, "top1": self.top1, "top5": self.top5, "per_class": self.per_class(names)}


def measure(scores: np.ndarray, classes: np.ndarray) -> ClassMetrics:
    """Measure.

    Args:
        scores: (N, K); of equal ones the smaller class comes first.
        classes: (N,), the true ones.
    """
    count, kinds = scores.shape
    scored = ~np.isnan(scores).any(1)
    own = scores[np.arange(count), classes][:, None]
    before = np.arange(kinds) < classes[:, None]
    rank = ((scores > own) | ((scores == own) & before)).sum(1)
    confusion = np.zeros((kinds, kinds), dtype=int)
    np.add.at(confusion, (scores[scored].argmax(1), classes[scored]), 1)
    return ClassMetrics(
        images=count,
        unscored=int((~scored).sum()),
        top1=float((scored & (rank < 1)).mean()),
        top5=float((scored & (rank < 5)).mean()),
        true=np.bincount(classes, minlength=kinds),
        confusion=confusion,
    )
