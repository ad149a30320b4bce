"""What the package logs, shown as the engine shows its own lines."""

from __future__ import annotations

import logging
import re

from ultralytics.utils import LOGGER


def show_log() -> None:
    """Show the messages of all our modules where the engine's go, unless they are shown already."""
    LOGGER.addFilter(_without_count)
    own = logging.getLogger("moat_det")
    own.setLevel(logging.INFO)
    for handler in () if own.handlers else LOGGER.handlers[:1]:
        own.addHandler(handler)


def _without_count(record: logging.LogRecord) -> bool:
    """Take the engine's count out of a line: it counts the labels of one folder, and ours may lie in several."""
    if isinstance(record.msg, str) and record.msg.startswith("Results saved to"):
        record.msg = re.sub(r"\n\d+ labels? saved to ", "\nlabels saved to ", record.msg)
    return True
