"""Validations of the same images side by side: whether one is better, as a difference with an interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from moat_det.errors import UserError
from moat_det.evaluation.errors.join_runs import join_runs
from moat_det.evaluation.inspection.average_precision import average_precision, mean_ap
from moat_det.evaluation.inspection.box_matches import AP_IOUS, Entry, match_boxes
from moat_det.evaluation.inspection.froc import gather
from moat_det.evaluation.inspection.inspection import IOU, read_inspection
from moat_det.evaluation.inspection.intervals import (
    CONFIDENCE,
    RESAMPLES,
    exact_interval,
    percentile_interval,
    resampled,
    upper_limit,
)
from moat_det.evaluation.inspection.parts import read_parts
from moat_det.evaluation.inspection.rule import Rule
from moat_det.evaluation.validation_folder import Validation
from moat_det.progress import progress

HIGHER_IS_BETTER = {
    "AP": True,
    "AP50": True,
    "AUROC": True,
    "escape": False,
    "overkill": False,
    "reviewed": False,
    "recall": True,
    "false_alarms_per_image": False,
}
"""The figures that are compared."""

_NO_WIDTH = 1e-12


@dataclass(frozen=True)
class Difference:
    """How a figure of a run differs from that of the first.

    Attributes:
        value: The run's less the first's.
        low: Lower end of the interval.
        high: Upper end.
        verdict: "better" or "worse" where the interval leaves out 0, else "not told apart".
    """

    value: float
    low: float
    high: float
    verdict: str


@dataclass(frozen=True)
class Compared:
    """A run beside the first.

    Attributes:
        run: Its folder.
        rule: At which escape, overkill, recall and false alarms hold.
        figures: By name; None where there is nothing to measure.
        differences: From the first run's, by name; empty for that one.
    """

    run: str
    rule: Rule
    figures: dict[str, float | None]
    differences: dict[str, Difference | None]


@dataclass(frozen=True)
class Comparison:
    """All runs, the first to compare with.

    Attributes:
        images: Of each.
        parts: Of each.
        defective_parts: Of these.
        group: What makes images one part; None: each is one.
        confidence: Of the intervals.
        resamples: How often the parts were drawn anew.
        runs: The runs.
    """

    images: int
    parts: int
    defective_parts: int
    group: str | None
    confidence: float
    resamples: int
    runs: list[Compared]

    def to_json_dict(self) -> dict[str, Any]:
        """Give the content of `compare.json`."""
        return asdict(self)


class _Run:
    """A run's figures on the parts as they are, and on parts that are drawn anew."""

    def __init__(self, truth: Mapping[str, Any], predictions: Sequence[Entry], group: str | None, rule: Rule) -> None:
        counted = rule.counted(truth, predictions)
        self.parts = read_parts(truth, predictions, group)
        judged, bad = read_parts(truth, counted, group).scores, self.parts.defective
        passed, rejected = judged < rule.least, judged >= rule.threshold
        # Of each rate: which parts it is of, and on which it happens.
        self.rates = {
            "escape": (bad, passed),
            "overkill": (~bad, rejected),
            "reviewed": (np.ones_like(bad), ~passed & ~rejected),
        }
        self._rule = rule
        self._part_of = np.array(list(self.parts.of_image.values()), dtype=int)
        self._matches = match_boxes(truth, predictions, AP_IOUS)
        self._alarms = gather(match_boxes(truth, counted, np.array([IOU]), max_detections=None))

    def figures(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Give each figure, (R,), of splits in which each part lies so often, (R, parts); NaN where there is none."""
        of_image = counts[:, self._part_of]
        precision = average_precision(self._matches, of_image)
        bad, alarms, rule = self.parts.defective, self._alarms, self._rule
        shown = alarms.images[alarms.wrong & (alarms.scores >= rule.threshold)]
        return {
            "AP": mean_ap(precision),
            "AP50": mean_ap(precision[:, :, :1]),
            "AUROC": np.array([_auroc(self.parts.scores, bad, row) for row in counts]),
            **{name: _share(counts[:, of & on], counts[:, of]) for name, (of, on) in self.rates.items()},
            "recall": _share(of_image[:, alarms.objects[alarms.found_at >= rule.least]], of_image[:, alarms.objects]),
            "false_alarms_per_image": _share(of_image[:, shown], of_image),
        }


def compare(
    runs: Sequence[Validation],
    group: str | None = None,
    threshold: float | None = None,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare validations with the first of them, by paired bootstrap over the parts (Efron 1979).

    In each resample the same parts are drawn for all runs, so that what makes a part hard for all does not count. The
    interval of a rate of parts holds the exact one too (see `_mcnemar`), since few parts in which two runs differ have
    too little spread. A figure that differs alike in all resamples has none: then the interval is wide enough for as
    many other parts as, by the exact limit, may not have been seen.

    Args:
        runs: Two or more, of the same images and labels.
        group: What makes images one part, as `read_parts` takes it; None: what the first validation took.
        threshold: For all; None: for each those of its validation, an operating point's where it has one.
        confidence: Of the intervals.
        resamples: How often to draw the parts anew.

    Raises:
        UserError: There is one run alone, or they are of other images, labels or classes.
    """
    if len(runs) < 2:
        raise UserError("moat compare needs two or more folders of moat val")
    truth, models = join_runs(runs)
    if len(models) < len(runs):
        files = [{image["file_name"] for image in run.ground_truth["images"]} for run in runs]
        other = next(run for run, own in zip(runs, files, strict=True) if own != files[0])
        raise UserError(f"{other.folder}: has other images than {runs[0].folder}; validate both on the same split")
    facts = [read_inspection(run.folder) for run in runs]
    group = facts[0].get("group") if group is None else group
    rules = [Rule.of_inspection(fact) if threshold is None else Rule(threshold) for fact in facts]
    measured = [_Run(truth, found, group, rule) for found, rule in zip(models, rules, strict=True)]
    parts = measured[0].parts
    values = [each.figures(np.ones((1, len(parts)), dtype=int)) for each in measured]
    drawn: list[dict[str, list[np.ndarray]]] = [{name: [] for name in HIGHER_IS_BETTER} for _ in runs]
    with progress(None, "comparing", resamples, unit="sample", leave=False) as shown:
        for counts in resampled(len(parts), resamples):
            for each, kept in zip(measured, drawn, strict=True):
                for name, found in each.figures(counts).items():
                    kept[name].append(found)
            shown.update(len(counts))
    bad, good = int(parts.defective.sum()), int((~parts.defective).sum())
    units = {"AUROC": min(bad, good), "overkill": good, "reviewed": bad + good, "false_alarms_per_image": bad + good}
    compared = []
    for number, run in enumerate(runs):
        differences: dict[str, Difference | None] = {}
        for name, higher in HIGHER_IS_BETTER.items() if number else ():
            value = float(values[number][name][0] - values[0][name][0])
            spread = np.concatenate(drawn[number][name]) - np.concatenate(drawn[0][name])
            exact = _mcnemar(measured[0], measured[number], name, confidence)
            differences[name] = _difference(value, spread, higher, confidence, units.get(name, bad), exact)
        own = {name: _finite(found[0]) for name, found in values[number].items()}
        compared.append(Compared(str(run.folder), rules[number], own, differences))
    return Comparison(len(parts.of_image), len(parts), bad, group, confidence, resamples, compared)


def compare_ap(
    truth: Mapping[str, Any],
    first: Sequence[Entry],
    second: Sequence[Entry],
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> tuple[float, Difference] | None:
    """Compare the AP of two lists of detections in the same images, by paired bootstrap over the images.

    Args:
        truth: The COCO dictionary of the labels.
        first: Detections to compare with, in COCO's results format.
        second: Those that are compared.
        confidence: Of the interval.
        resamples: How often to draw the images anew.

    Returns:
        AP of the first, and how that of the second differs from it; None where there is no object to find.
    """
    matches = [match_boxes(truth, found, AP_IOUS) for found in (first, second)]
    images = len(truth["images"])
    values = [float(mean_ap(average_precision(each, np.ones((1, images), dtype=int)))[0]) for each in matches]
    spread: list[np.ndarray] = []
    with progress(None, "interval of AP", resamples, unit="sample", leave=False) as shown:
        for counts in resampled(images, resamples):
            of_first, of_second = (mean_ap(average_precision(each, counts)) for each in matches)
            spread.append(of_second - of_first)
            shown.update(len(counts))
    difference = _difference(values[1] - values[0], np.concatenate(spread), True, confidence, None)
    return None if difference is None else (values[0], difference)


def comparison_table(comparison: Comparison) -> str:
    """Give the comparison as text for the terminal."""
    first, *others = comparison.runs
    bad, parts = comparison.defective_parts, comparison.parts
    lines = [
        f"{parts} parts, {bad} defective, in {comparison.images} images; differences from {first.run} with "
        f"{comparison.confidence:.0%} intervals, by {comparison.resamples} paired resamples"
    ]
    for run in others:
        lines += ["", f"{run.run} (at {run.rule}) against {first.run} (at {first.rule})"]
        lines.append(f"{'figure':<24}{'first':>9}{'this':>9}{'difference':>12}{'interval':>20}")
        for name in HIGHER_IS_BETTER:
            found = run.differences[name]
            if found is None:
                lines.append(f"{name:<24}{'-':>9}{'-':>9}{'-':>12}{'':>20}  nothing to measure")
                continue
            ends = f"[{found.low:+.4f}, {found.high:+.4f}]"
            figures = "".join(f"{each.figures[name]:>9.4f}" for each in (first, run))
            lines.append(f"{name:<24}{figures}{found.value:>+12.4f}{ends:>20}  {found.verdict}")
    return "\n".join(lines)


def _mcnemar(first: _Run, run: _Run, name: str, confidence: float) -> tuple[float, float] | None:
    """Give the ends of the exact interval of a rate's difference, given in how many parts two runs differ.

    It leaves out 0 where the exact test of McNemar (1947) tells the two apart: of the parts in which they differ, the
    share that speaks against the run has the interval of Clopper and Pearson.

    Args:
        first: The run to compare with.
        run: The run.
        name: Of a figure.
        confidence: Of the interval.

    Returns:
        The ends; None where the figure is no rate of parts, or the two differ in none.
    """
    if name not in run.rates:
        return None
    (of, before), (_, now) = first.rates[name], run.rates[name]
    differing = int((of & (before != now)).sum())
    share = exact_interval(int((of & now & ~before).sum()), differing, confidence)
    if share is None:
        return None
    scale = differing / int(of.sum())
    return scale * (2 * share.low - 1), scale * (2 * share.high - 1)


def _difference(
    value: float,
    spread: np.ndarray,
    higher: bool,
    confidence: float,
    units: int | None,
    exact: tuple[float, float] | None = None,
) -> Difference | None:
    """Give a difference with its interval and verdict; None where there is nothing to measure.

    Args:
        value: As measured.
        spread: (R,) of each resample.
        higher: Whether more is better.
        confidence: Of the interval.
        units: How many parts the figure is of; None leaves an interval without width as it is.
        exact: Ends that the interval holds in any case.
    """
    interval = percentile_interval(value, spread, confidence)
    if interval is None or not np.isfinite(value):
        return None
    low, high = interval.low, interval.high
    if high - low < _NO_WIDTH and units:
        unseen = upper_limit(0, units, (1 + confidence) / 2)
        middle, reach = value * (1 - unseen), max(1, abs(value)) * unseen
        low, high = middle - reach, middle + reach
    if exact is not None:
        low, high = min(low, exact[0]), max(high, exact[1])
    verdict = "not told apart"
    if low > 0 or high < 0:
        verdict = "better" if (value > 0) == higher else "worse"
    return Difference(value, low, high, verdict)


def _share(chosen: np.ndarray, all_: np.ndarray) -> np.ndarray:
    total = all_.sum(axis=1)
    return np.divide(chosen.sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0)


def _auroc(scores: np.ndarray, bad: np.ndarray, counts: np.ndarray) -> float:
    """Give the probability that a defective part scores higher than a good one, each part counted so often."""
    ranks = rankdata(scores, method="dense").astype(int)
    good_at = np.bincount(ranks[~bad], weights=counts[~bad], minlength=ranks.max(initial=0) + 1)
    below = good_at.cumsum() - good_at / 2
    pairs = counts[bad].sum() * good_at.sum()
    return float((counts[bad] * below[ranks[bad]]).sum() / pairs) if pairs else float("nan")


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
