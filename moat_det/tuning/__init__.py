"""A search of the settings that suit a dataset, within a budget of time; by Optuna, over trainings of our own.

`space` says what is searched, `study` keeps what was tried in a file, `recipe` says what a trial trains, `training`
trains it in a process of its own and looks at its epochs, `search` goes from trial to trial, `comparison` sets the best
beside the default, `report` and `plot` write it all.
"""

from __future__ import annotations

import moat_det.offline  # noqa: F401  (before any module here imports ultralytics)
