"""Whether two samples differ, by more than chance and by enough to matter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import ks_2samp

from moat_det.evaluation.drift.sample import MEASURES

LEVEL = 0.05
"""Of all tests together: so often they alarm where nothing has changed, at most."""

LEAST_CHANGE = 0.1
"""The share of the parts that a change must concern: many parts show differences that matter to nobody."""


def drift(
    reference: Mapping[str, np.ndarray],
    new: Mapping[str, np.ndarray],
    level: float = LEVEL,
    least_change: float = LEAST_CHANGE,
) -> dict[str, Any]:
    """Compare what is known of new parts with what was known of those of the validation.

    Each measure is tested by Kolmogorov and Smirnov's two-sample test, corrected for their number by Holm (1979). The
    distance is the largest gap of the two cumulative curves: the share of the parts whose values have moved, at least.
    A measure has changed where the test says so and the distance is `least_change` or more.

    Args:
        reference: From `read_sample`.
        new: The same, of the new parts.
        level: Of all tests together, in (0, 1).
        least_change: The least distance that matters, in [0, 1].

    Returns:
        `changed`; `level` and `least_change`; `reference_parts` and `new_parts`; `detectable`, the least distance that
        so many parts can show; and `measures` by name, of those that both samples have: `distance`, `p` (corrected),
        the means `reference` and `new`, `larger`, the probability that a new value is larger than one of the
        reference (a tie counts half), and `changed`.
    """
    names = [name for name in MEASURES if name in reference and name in new]
    tests = {name: ks_2samp(reference[name], new[name]) for name in names}
    corrected = _holm({name: float(test.pvalue) for name, test in tests.items()})
    measures = {
        name: {
            "distance": float(tests[name].statistic),
            "p": corrected[name],
            "reference": float(np.mean(reference[name])),
            "new": float(np.mean(new[name])),
            "larger": _larger(reference[name], new[name]),
            "changed": bool(corrected[name] < level and tests[name].statistic >= least_change),
        }
        for name in names
    }
    before, after = len(reference["score"]), len(new["score"])
    # The asymptotic critical value of the strictest of Holm's tests.
    critical = math.sqrt(-math.log(level / len(names) / 2) / 2 * (before + after) / (before * after))
    return {
        "changed": any(measure["changed"] for measure in measures.values()),
        "level": level,
        "least_change": least_change,
        "reference_parts": before,
        "new_parts": after,
        "detectable": min(critical, 1.0),
        "measures": measures,
    }


def _holm(values: Mapping[str, float]) -> dict[str, float]:
    """Correct the p-values of several tests, so that each can be compared with the level of all."""
    corrected, largest = {}, 0.0
    for rank, name in enumerate(sorted(values, key=lambda name: values[name])):
        largest = max(largest, min(1.0, (len(values) - rank) * values[name]))
        corrected[name] = largest
    return corrected


def _larger(reference: np.ndarray, new: np.ndarray) -> float:
    ordered = np.sort(reference)
    below, up_to = (np.searchsorted(ordered, new, side=side).mean() for side in ("left", "right"))
    return float((below + up_to) / 2 / len(reference))


def drift_table(content: Mapping[str, Any]) -> str:
    """Give what `drift` found as aligned plain text."""
    rows = [["", "reference", "new", "distance", "p", ""]]
    for name, found in content["measures"].items():
        means = (f"{found[key]:.4g}" for key in ("reference", "new"))
        mark = "changed" if found["changed"] else ""
        rows.append([name, *means, f"{found['distance']:.2f}", f"{found['p']:.2g}", mark])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [f"{content['new_parts']} new parts against {content['reference_parts']} of the validation: means", ""]
    lines += ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if content["detectable"] > content["least_change"]:
        lines += ["", f"so few parts show only changes of {content['detectable']:.0%} of them or more: give more"]
    return "\n".join(lines)
