"""Speed and peak memory of detectors and of attention, each measured in a process of its own.

`cases` says what to measure, `runner` starts a process for each (`worker`) and lets them take turns, `passes`, `sliced`
and `attention` make the pass to measure, `measure` takes its time and memory, `report` and `plot` write what came out.
Files of other formats are written by `exports`, and `runtime_pass` runs them. `roofline` says what bounds each part.
"""

from __future__ import annotations

import moat_det.offline  # noqa: F401  (before any module here imports ultralytics)
