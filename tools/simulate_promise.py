"""Check by simulation that the promise of an operating point holds.

All parts of a validation are taken for everything there is. Samples of them are drawn with replacement, an operating
point is found on each, and the true rate at its threshold is that of all parts. The promise holds where that rate meets
the target in as many samples as the confidence says, or more.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moat_det.errors import UserError
from moat_det.evaluation.inspection.choose_threshold import just_above
from moat_det.evaluation.inspection.evidence import Evidence, read_evidence
from moat_det.evaluation.inspection.find_operating_point import choose_thresholds
from moat_det.evaluation.inspection.settings import SETTINGS
from moat_det.evaluation.inspection.targets import Target, TargetOptions
from moat_det.progress import progress
from tools.command import command, make_parser


@dataclass(frozen=True)
class Outcome:
    """What became of the samples.

    Attributes:
        kept: In how many all that was promised holds; those without a threshold promise nothing, and are among them.
        promised: How many have a threshold.
        truth: The median of the true rate at the thresholds, as the target names it; NaN without a threshold.
        best: The best that the true rate can be while it meets the target: what a threshold known to be right gives.
    """

    kept: int
    promised: int
    truth: float
    best: float


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = make_parser((__doc__ or "").splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="folder of a moat val")
    parser.add_argument(
        "--target", nargs="+", required=True, metavar="NAME=VALUE", help="such as max_escape=0.1 target_recall=0.5"
    )
    parser.add_argument("--max-review", type=float, help="with a review of at most so many of all parts")
    parser.add_argument("--group", help="regular expression: images with the same match in their names are one part")
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--size", type=int, default=100, help="parts in a sample")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    truth, found = (_read(args.run / name) for name in ("ground_truth.json", "predictions.json"))
    evidence = read_evidence(truth, found, args.group)
    settings = args.run / SETTINGS
    lowest = just_above(_read(settings)["conf"] if settings.exists() else 0.001)
    print(
        f"{len(evidence.scores)} parts, {int(evidence.defective.sum())} defective, {len(evidence.found_at)} boxes; "
        f"{args.samples} samples of {args.size} parts, confidence {args.confidence:g}"
    )
    print(
        "| target | promise kept | with a threshold | of these kept | true rate, median | rate at the right threshold |"
    )
    print("|---|---|---|---|---|---|")
    for words in args.target:
        options = _options(words, args)
        outcome = simulate(evidence, options, args.samples, args.size, args.seed, lowest)
        broken = args.samples - outcome.kept
        of_these = f"{1 - broken / outcome.promised:.1%}" if outcome.promised else "-"
        print(
            f"| {words}{f', max_review={args.max_review:g}' if args.max_review else ''} | "
            f"{outcome.kept / args.samples:.1%} | {outcome.promised / args.samples:.1%} | {of_these} | "
            f"{outcome.truth:.4f} | {outcome.best:.4f} |",
            flush=True,
        )
    return 0


def simulate(evidence: Evidence, options: TargetOptions, samples: int, size: int, seed: int, lowest: float) -> Outcome:
    """Find an operating point on each of many samples, and look what it comes to on all parts.

    Args:
        evidence: Of all parts.
        options: With a target.
        samples: How many to draw.
        size: Parts in each.
        seed: Of the draws.
        lowest: The lowest threshold there may be.
    """
    target = options.target
    assert target is not None
    rng, whole, truths = np.random.default_rng(seed), evidence.rate(target.name), []
    broken = 0
    for _ in progress(range(samples), "drawing", leave=False):
        sample = evidence.drawn(rng.integers(len(evidence.scores), size=size))
        found = choose_thresholds(sample, target, options.max_review, options.confidence, lowest)
        if found.reject is None:
            continue
        decides = found.review if whole.rises and found.review is not None else found.reject
        truths.append(whole.value(decides))
        kept = truths[-1] <= target.most
        if options.max_review is not None and found.review is not None:
            between = (evidence.scores >= found.review) & (evidence.scores < found.reject)
            kept &= bool(between.mean() <= options.max_review)
        broken += not kept
    median = float(np.median(truths)) if truths else np.nan
    return Outcome(samples - broken, len(truths), target.shown(median), _best(evidence, target, lowest))


def _best(evidence: Evidence, target: Target, lowest: float) -> float:
    """Give the rate nearest to the target that meets it; NaN where none does."""
    rate = evidence.rate(target.name)
    if not rate.units:
        return np.nan
    scores = np.unique(rate.scores[rate.scores > 0]).tolist()
    values = [rate.value(score) for score in [lowest, *scores, *map(just_above, scores)] if score >= lowest]
    return target.shown(max((value for value in values if value <= target.most), default=np.nan))


def _options(words: str, args: argparse.Namespace) -> TargetOptions:
    name, _, value = words.partition("=")
    try:
        given: dict[str, Any] = {name: float(value)}
        options = TargetOptions(**given, max_review=args.max_review, confidence=args.confidence)
    except (TypeError, ValueError):
        raise UserError(f"--target {words}: write it like max_escape=0.1") from None
    if options.target is None:
        raise UserError(f"--target {words}: is no target; write one like max_escape=0.1")
    return options


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: is no JSON ({error}); name the folder of a moat val") from None


if __name__ == "__main__":
    sys.exit(main())
