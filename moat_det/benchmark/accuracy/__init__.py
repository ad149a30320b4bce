"""Accuracy of detectors on test splits that their trainings never saw: models x sets x seeds by one recipe.

`sets` makes the splits, `runs` says what to train and what is there already, `process` trains and tests, each in a
process of its own, `sliced` tests in tiles, `costs` measures what the models cost, `report` and `plot` write it all.
"""

from __future__ import annotations

import moat_det.offline  # noqa: F401  (before any module here imports ultralytics)
