"""Whether inspectors, and the model, agree with each other and with the truth about the same parts."""

from __future__ import annotations

from moat_det.evaluation.agreement.judgements import (
    Judgements,
    group_of_runs,
    of_the_same_parts,
    read_judgements,
)
from moat_det.evaluation.agreement.measure import agreement, agreement_table
from moat_det.evaluation.agreement.plot import plot_agreement

__all__ = [
    "Judgements",
    "agreement",
    "agreement_table",
    "group_of_runs",
    "of_the_same_parts",
    "plot_agreement",
    "read_judgements",
]
