"""Files that hold several pictures."""

from __future__ import annotations

import logging
from pathlib import Path

from moat_det.data.images.header import count_pictures

logger = logging.getLogger(__name__)


def tell_pictures(file: str | Path, channels: int) -> None:
    """Say where a file holds more pictures than the one that is read; of bands they are the bands."""
    if channels in {1, 3} and (number := count_pictures(file)) > 1:
        logger.warning(
            f"{file}: holds {number} pictures, of which only the first is looked at; save each as its own file"
        )
