"""What is said of an image that is not detected in as it was meant."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)


def tell_cut(file: str, count: int, max_det: int) -> None:
    """Say that an image has more detections than are kept of one."""
    logger.warning(
        f"{file}: at least {count} detections, of which the best {max_det} are kept; raise --max-det to keep more"
    )


def tell_scaled(file: str, size: tuple[int, int], scaled: tuple[int, int]) -> None:
    """Say that an image, of a height and width, has too many pixels to keep its own size."""
    logger.warning(f"{file}: {size[1]} x {size[0]} is scaled down to {scaled[1]} x {scaled[0]} by --max-pixels")
