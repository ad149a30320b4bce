"""Takes out of the engine what would reach for the network. Import it before any other part of the engine is used.

`moat_det.offline` sets the engine's own switches; two things have none. The loggers of third parties (ClearML, Comet,
MLflow, ...) and the engine's usage events attach themselves to every trainer, and drawing asks a server for a font.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import matplotlib
import ultralytics.utils.callbacks
import ultralytics.utils.plotting

from moat_det.report.fonts import families, font_file


def _attach_nothing(instance: Any) -> None:
    """Stand in for the engine's `add_integration_callbacks`: callbacks are only those that the user adds."""


_drawn_names: list[str] = []


def will_draw(names: Iterable[str]) -> None:
    """Let the engine draw these names of classes, with a font that has their letters; what none has is said once."""
    _drawn_names[:] = names
    matplotlib.rcParams["font.family"] = families(_drawn_names)
    warnings.filterwarnings("ignore", "Glyph", UserWarning)  # of letters that no font has, which is said by now


def _installed_font(font: str = "") -> str:
    """Stand in for the engine's `check_font`: an installed font for the names that are drawn."""
    return str(font_file(_drawn_names))


ultralytics.utils.callbacks.add_integration_callbacks = _attach_nothing
ultralytics.utils.plotting.check_font = _installed_font
