"""Keeps the libraries below us offline and off our threads. Import it before ultralytics or albumentations.

ultralytics asks DNS servers, fetches fonts and versions, installs packages and sends usage events; albumentations asks
for its newest version at import. Each reads its switch from the environment when it is imported. ultralytics also sets
torch to one thread there, unless the number of threads is given.
"""

from __future__ import annotations

import os

from moat_det.cores import available_cores

os.environ["YOLO_OFFLINE"] = "true"
os.environ["YOLO_AUTOINSTALL"] = "false"
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS") or str(available_cores())
