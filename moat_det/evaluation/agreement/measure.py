"""Attribute agreement, as in gauge studies: within a rater, between raters, and against the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from moat_det.evaluation.agreement.judgements import Judgements
from moat_det.evaluation.inspection.intervals import (
    CONFIDENCE,
    Interval,
    clustered_interval,
    exact_interval,
    percentile_interval,
    resampled,
)

GOOD, POOR = 0.75, 0.4
"""Kappas above the one are called good, below the other poor (Fleiss 1981)."""

_NO_WIDTH = 1e-12


def agreement(
    judgements: Sequence[Judgements], reference: Judgements | None, confidence: float = CONFIDENCE
) -> dict[str, Any]:
    """Measure how well raters agree.

    Args:
        judgements: Of the same parts, in the same order (see `of_the_same_parts`); several of one rater are trials.
        reference: The truth about them; None where nobody knows it.
        confidence: Of the intervals: exact ones for shares of parts, by bootstrap over the parts for kappa, exact
            where that has no spread.

    Returns:
        `parts`, `defective_parts` (by the reference), `confidence`; `raters` by name: `trials`; `rejected`, the share
        of parts; `within`, the share of parts of which all trials say the same; and, where there is a reference,
        `against_reference`, the share of which all trials say what it says, `kappa` (Cohen's), `escape` and `overkill`.
        `between`: `agreement`, the share of parts of which all say the same in all trials, `kappa` (Cohen's of two
        raters, Fleiss' of more, trial by trial), `measure` and `pairs`, Cohen's of each two. Figures have `value`,
        `low` and `high`; None where there is nothing to measure, such as the kappa of parts that are all good.
    """
    truth = None if reference is None else _array(reference)
    raters: dict[str, np.ndarray] = {
        name: np.stack([_array(each) for each in judgements if each.rater == name])
        for name in dict.fromkeys(each.rater for each in judgements)
    }
    trials = min(len(rows) for rows in raters.values())
    pairs = [
        {
            "raters": [left, right],
            "kappa": _cohen(raters[left][:trials], raters[right][:trials], confidence),
        }
        for left, right in combinations(raters, 2)
    ]
    between = None
    if len(raters) > 1:
        together = np.concatenate(list(raters.values()))
        two = len(raters) == 2
        kappa = pairs[0]["kappa"] if two else _fleiss(np.stack([rows[:trials] for rows in raters.values()]), confidence)
        between = {
            "agreement": _share((together == together[0]).all(axis=0), confidence),
            "measure": "Cohen's kappa" if two else "Fleiss' kappa",
            "kappa": kappa,
            "pairs": pairs,
        }
    return {
        "parts": len(next(iter(raters.values()))[0]),
        "defective_parts": None if truth is None else int(truth.sum()),
        "confidence": confidence,
        "reference": None if reference is None else reference.rater,
        "raters": {name: _of_rater(rows, truth, confidence) for name, rows in raters.items()},
        "between": between,
    }


def _array(judgements: Judgements) -> np.ndarray:
    return np.array(list(judgements.rejected.values()), dtype=bool)


def _of_rater(rows: np.ndarray, truth: np.ndarray | None, confidence: float) -> dict[str, Any]:
    """Measure a rater's trials, (T, N)."""
    within = _share((rows == rows[0]).all(axis=0), confidence) if len(rows) > 1 else None
    figures: dict[str, Any] = {"trials": len(rows), "rejected": _rate(rows, confidence), "within": within}
    if truth is None:
        return figures
    return {
        **figures,
        "against_reference": _share((rows == truth).all(axis=0), confidence),
        "kappa": _cohen(rows, np.broadcast_to(truth, rows.shape), confidence),
        "escape": _rate(~rows[:, truth], confidence),
        "overkill": _rate(rows[:, ~truth], confidence),
    }


def _share(same: np.ndarray, confidence: float) -> dict[str, float] | None:
    return _json(exact_interval(int(same.sum()), len(same), confidence))


def _rate(happened: np.ndarray, confidence: float) -> dict[str, float] | None:
    """Give the share of judgements, (T, N) of T trials of N parts: those of one part are not independent."""
    if len(happened) == 1:
        return _share(happened[0], confidence)
    trials = np.full(happened.shape[1], len(happened))
    return _json(clustered_interval(happened.sum(axis=0), trials, confidence))


def _cohen(left: np.ndarray, right: np.ndarray, confidence: float) -> dict[str, float] | None:
    """Give Cohen's kappa (1960) of two raters, (T, N) each, trial by trial, with its interval over parts."""

    def agreed(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weight = counts.sum(axis=1) * len(left)
        first, second = (counts @ rows.sum(axis=0) / weight for rows in (left, right))
        return counts @ (left == right).sum(axis=0) / weight, _both(first, second)

    return _kappa(agreed, left.shape[1], confidence)


def _fleiss(ratings: np.ndarray, confidence: float) -> dict[str, float] | None:
    """Give Fleiss' kappa (1971) of R raters, (R, T, N), trial by trial, with its interval over parts."""
    raters, trials, parts = ratings.shape
    rejections = ratings.sum(axis=0)  # (T, N)
    others = raters - rejections
    alike = ((rejections * (rejections - 1) + others * (others - 1)) / (raters * (raters - 1))).sum(axis=0)

    def agreed(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weight = counts.sum(axis=1) * trials
        share = counts @ rejections.sum(axis=0) / (weight * raters)
        return counts @ alike / weight, _both(share, share)

    return _kappa(agreed, parts, confidence)


def _both(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Give how often two agree by chance who reject these shares."""
    return first * second + (1 - first) * (1 - second)


def _chance_corrected(observed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    room = 1 - expected
    return np.divide(observed - expected, room, out=np.full_like(room, np.nan), where=room > 1e-12)


def _kappa(
    agreed: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], parts: int, confidence: float
) -> dict[str, float] | None:
    """Give kappa with its interval over parts; None where there is nothing to measure.

    Where all resamples have the same kappa, as those of perfect agreement have, the interval is that of the observed
    agreement, exact, with the agreement by chance as it is.

    Args:
        agreed: Gives how often raters agree, and how often they would by chance, of parts that count so often.
        parts: How many there are.
        confidence: Of the interval.
    """
    observed, expected = agreed(np.ones((1, parts)))
    value = float(_chance_corrected(observed, expected)[0])
    if not np.isfinite(value):
        return None
    figures = np.concatenate([_chance_corrected(*agreed(counts)) for counts in resampled(parts)])
    if np.nanmax(figures) - np.nanmin(figures) > _NO_WIDTH:
        return _json(percentile_interval(value, figures, confidence))
    exact = exact_interval(float(observed[0]) * parts, parts, confidence)
    assert exact is not None  # there are parts
    low, high = (float(_chance_corrected(np.array([end]), expected)[0]) for end in (exact.low, exact.high))
    return _json(Interval(value, low, high))


def _json(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else interval._asdict()


def agreement_table(content: dict[str, Any]) -> str:
    """Give what `agreement` measured as aligned plain text."""
    known = content["reference"] is not None
    parts = f"{content['parts']} parts"
    head = f"{parts}, {content['defective_parts']} of them defective by {content['reference']}" if known else parts
    percent = f"{content['confidence']:.0%}"
    measured = ["against reference", "kappa", "escape", "overkill"] if known else ["rejected"]
    rows = [["rater", "trials", "within", *measured]]
    for name, figures in content["raters"].items():
        keys = ["against_reference", "kappa", "escape", "overkill"] if known else ["rejected"]
        cells = [_shown(figures[key], share=key != "kappa") for key in ["within", *keys]]
        rows.append([name, str(figures["trials"]), *cells])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [f"{head}; in brackets {percent} limits", ""]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    between = content["between"]
    if between:
        lines += ["", f"all say the same: {_shown(between['agreement'])} of the parts"]
        lines.append(f"{between['measure']}: {_shown(between['kappa'], share=False)}{_word(between['kappa'])}")
        if len(between["pairs"]) > 1:
            for pair in between["pairs"]:
                lines.append(f"  {' and '.join(pair['raters'])}: {_shown(pair['kappa'], share=False)}")
    return "\n".join(lines)


def _shown(figure: dict[str, float] | None, share: bool = True) -> str:
    if figure is None:
        return "-"
    form = "{:.1%}" if share else "{:.2f}"
    value, low, high = (form.format(figure[key]) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _word(kappa: dict[str, float] | None) -> str:
    if kappa is None:
        return ": all say the same of all parts, by which nothing can be told"
    value = kappa["value"]
    return ", good" if value > GOOD else ", poor: agree on what a defect is first" if value < POOR else ", fair"
