"""What the package logs, shown as the engine shows its own lines."""

from __future__ import annotations

import logging

from ultralytics.utils import LOGGER


def show_log() -> None:
    """Show the messages of all our modules where the engine's go, unless they are shown already."""
    own = logging.getLogger("moat_det")
    own.setLevel(logging.INFO)
    for handler in () if own.handlers else LOGGER.handlers[:1]:
        own.addHandler(handler)
