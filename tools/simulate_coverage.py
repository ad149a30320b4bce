"""How often the intervals of an inspection hold the truth, on drawn parts of which the truth is known.

Exact intervals may cover too much and must not cover too little; a bootstrap's should cover what they say.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.stats import norm

from moat_det.evaluation.inspection.average_precision import ap_interval, average_precision, mean_ap
from moat_det.evaluation.inspection.box_matches import ClassMatches
from moat_det.evaluation.inspection.figures import auroc, escape
from moat_det.evaluation.inspection.froc import false_alarms, froc, gather, recall_interval
from moat_det.evaluation.inspection.intervals import Interval, count_interval, exact_interval
from moat_det.evaluation.inspection.parts import Parts
from moat_det.progress import progress
from tools.command import command, make_parser

LEAST_EXACT = 0.936
"""What 95 % intervals must cover: two standard errors of 1,000 simulations less."""
BOOTSTRAP = (0.93, 0.97)

_POPULATION = 100_000  # parts, that stand for all
_LEVELS = 3  # overlaps, of AP's ten
_ALARMS = 0.5  # per image, at which the recall of FROC is asked
_THRESHOLD = 0.5

Rng = np.random.Generator


@dataclass(frozen=True)
class Split:
    """Drawn parts, of an image each: those of a detector that finds the objects of some parts better than of others."""

    parts: Parts
    matches: list[ClassMatches]


@dataclass(frozen=True)
class Case:
    """An interval of a figure whose truth is known.

    Attributes:
        name: For the table.
        truth: Of the figure.
        interval: Draws parts and gives their interval.
        covers: What it must cover, at least and at most; None where it stands to compare with.
    """

    name: str
    truth: float
    interval: Callable[[Rng], Interval | None]
    covers: tuple[float, float] | None


def draw_split(rng: Rng, count: int, classes: int = 2) -> Split:
    """Draw parts with up to six objects of each class, which are alike in one part, and false alarms that crowd."""
    ease = rng.normal(0, 1, count)  # of finding the objects of a part
    texture = rng.normal(0, 1, count)  # that looks like a defect
    matches = []
    for category_id in range(1, classes + 1):
        objects = np.repeat(np.arange(count), rng.integers(0, 7, count) * (rng.random(count) < 0.6))
        quality = ease[objects] + rng.normal(0.3, 1, len(objects))
        found = quality > -1
        overlaps = norm.cdf(quality - 0.5 * np.arange(_LEVELS)[:, None] + rng.normal(0, 0.5, len(objects)))
        right = found & (overlaps > 0.3)
        score = np.where(found, norm.cdf(0.6 * quality + rng.normal(0, 0.6, len(objects))), -1.0)
        alarms = np.repeat(np.arange(count), rng.negative_binomial(0.7, 0.35, count))
        scores = np.concatenate([score[found], norm.cdf(0.8 * texture[alarms] + rng.normal(-1, 0.5, len(alarms)))])
        order = np.argsort(-scores, kind="stable")
        hits = np.hstack([right[:, found], np.zeros((_LEVELS, len(alarms)), dtype=bool)])[:, order]
        images = np.concatenate([objects[found], alarms])[order]
        found_at = np.where(right, score, -1.0)
        areas = np.ones(len(objects))
        matches.append(ClassMatches(category_id, scores[order], images, hits, ~hits, objects, areas, found_at))
    names = tuple(map(str, range(count)))
    parts = Parts(names, np.zeros(count), np.zeros(count, dtype=bool), {number: number for number in range(count)})
    return Split(parts, matches)


def draw_parts(rng: Rng, count: int, distance: float) -> Parts:
    """Draw parts of which a fifth is defective, with scores from two normal distributions so far apart."""
    defective = np.zeros(count, dtype=bool)
    defective[: count // 5] = True
    scores = norm.cdf(rng.normal(0, 1, count) + distance * (defective - 0.5))
    names = tuple(map(str, range(count)))
    return Parts(names, scores, defective, {number: number for number in range(count)})


def cases(parts: int, resamples: int, seed: int, everything: int = _POPULATION) -> list[Case]:
    """Give the intervals to measure.

    Args:
        parts: Of each simulation.
        resamples: Of each bootstrap.
        seed: Of the parts that stand for all.
        everything: How many these are; their figures are the truth.
    """
    exact = LEAST_EXACT, 1.0
    listed = []
    for distance in (2.0, 3.5):
        missed, area = float(norm.cdf(-distance / 2)), float(norm.cdf(distance / np.sqrt(2)))
        listed += [
            Case(
                f"escape {missed:.3f}: Clopper-Pearson",
                missed,
                partial(_escape, parts=parts, distance=distance),
                exact,
            ),
            Case(
                f"AUROC {area:.4f}: effective number",
                area,
                partial(_auroc, parts=parts, distance=distance),
                exact,
            ),
        ]
    population = draw_split(np.random.default_rng(seed + 1), everything)
    shown = gather(population.matches)
    ap = float(mean_ap(average_precision(population.matches, np.ones((1, everything), dtype=int)))[0])
    recall = float((shown.found_at >= _THRESHOLD).mean())
    alarms = float((shown.wrong & (shown.scores >= _THRESHOLD)).sum() / everything)
    (at,) = froc(shown, population.parts, resamples=0, at=(_ALARMS,))
    listed += [
        Case(
            f"recall of boxes {recall:.3f}: Korn-Graubard", recall, lambda rng: _recall(draw_split(rng, parts)), exact
        ),
        Case(
            "  the same as if boxes were independent", recall, lambda rng: _plain_recall(draw_split(rng, parts)), None
        ),
        Case(f"false alarms {alarms:.3f}: with dispersion", alarms, lambda rng: _alarms(draw_split(rng, parts)), exact),
        Case("  the same by Poisson alone", alarms, lambda rng: _plain_alarms(draw_split(rng, parts)), None),
        Case(
            f"recall {at.recall.value:.3f} at {_ALARMS:g} alarms: bootstrap",
            at.recall.value,
            lambda rng: _froc(draw_split(rng, parts), resamples),
            BOOTSTRAP,
        ),
        Case(f"AP {ap:.3f}: bootstrap", ap, lambda rng: _ap(draw_split(rng, parts), resamples), BOOTSTRAP),
    ]
    return listed


def _escape(rng: Rng, parts: int, distance: float) -> Interval | None:
    return escape(draw_parts(rng, parts, distance), _THRESHOLD)


def _auroc(rng: Rng, parts: int, distance: float) -> Interval | None:
    return auroc(draw_parts(rng, parts, distance))


def _recall(split: Split) -> Interval | None:
    alarms = gather(split.matches)
    return recall_interval(alarms.objects, alarms.found_at >= _THRESHOLD, split.parts)


def _plain_recall(split: Split) -> Interval | None:
    found = gather(split.matches).found_at >= _THRESHOLD
    return exact_interval(int(found.sum()), len(found))


def _alarms(split: Split) -> Interval | None:
    return false_alarms(gather(split.matches), split.parts, _THRESHOLD)


def _plain_alarms(split: Split) -> Interval | None:
    alarms = gather(split.matches)
    events = int((alarms.wrong & (alarms.scores >= _THRESHOLD)).sum())
    return count_interval(np.array([events]), np.array([len(split.parts)]))


def _froc(split: Split, resamples: int) -> Interval | None:
    points = froc(gather(split.matches), split.parts, resamples=resamples, at=(_ALARMS,))
    return points[0].recall if points else None


def _ap(split: Split, resamples: int) -> Interval | None:
    return ap_interval(split.matches, split.parts, resamples=resamples)


def coverage(case: Case, simulations: int, seed: int) -> tuple[float, float]:
    """Give the share of intervals that hold the truth, of those that there are, and their mean width."""
    rng, held, width, count = np.random.default_rng(seed), 0, 0.0, 0
    for _ in progress(range(simulations), case.name.strip(), leave=False):
        found = case.interval(rng)
        if found is not None:
            held += found.low <= case.truth <= found.high
            width += found.high - found.low
            count += 1
    return held / max(count, 1), width / max(count, 1)


def tell(parts: int, simulations: int, resamples: int, seed: int) -> bool:
    """Print the table; tells whether all cover what they must."""
    print(f"{simulations} simulations of {parts} parts, 95 % intervals")
    print(f"{'':44s} {'covers':>8s} {'wanted':>14s} {'width':>7s}")
    right = True
    for case in cases(parts, resamples, seed):
        share, width = coverage(case, simulations, seed)
        wanted = "-" if case.covers is None else f"{case.covers[0]:.1%} to {case.covers[1]:.0%}"
        right &= case.covers is None or case.covers[0] <= share <= case.covers[1]
        print(f"{case.name:44s} {share:8.1%} {wanted:>14s} {width:7.4f}", flush=True)
    print(f"goal: {'reached' if right else 'missed'}")
    return right


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 1 where an interval covers what it must not."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--parts", type=int, default=200, help="of each simulation")
    parser.add_argument("--simulations", type=int, default=1000, help="for each interval")
    parser.add_argument("--resamples", type=int, default=500, help="of each bootstrap")
    parser.add_argument("--seed", type=int, default=0, help="of the simulations")
    chosen: argparse.Namespace = parser.parse_args(argv)
    return 0 if tell(chosen.parts, chosen.simulations, chosen.resamples, chosen.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
