"""Takes out of the engine what would reach for the network. Import it before any other part of the engine is used.

`moat_det.offline` sets the engine's own switches; two things have none. The loggers of third parties (ClearML, Comet,
MLflow, ...) and the engine's usage events attach themselves to every trainer, and drawing asks a server for a font.
"""

from __future__ import annotations

from typing import Any

import ultralytics.utils.callbacks
import ultralytics.utils.plotting
from matplotlib import font_manager


def _attach_nothing(instance: Any) -> None:
    """Stand in for the engine's `add_integration_callbacks`: callbacks are only those that the user adds."""


def _installed_font(font: str = "") -> str:
    """Stand in for the engine's `check_font`: the font that matplotlib brings along."""
    return font_manager.findfont("DejaVu Sans")


ultralytics.utils.callbacks.add_integration_callbacks = _attach_nothing
ultralytics.utils.plotting.check_font = _installed_font
