"""Attention windows: what a user may write, and which an image of a given size gets at inference."""

from __future__ import annotations

import logging
from typing import Any

from moat_det.backbones.windows import WindowSpec, parse_windows
from moat_det.detector.base import BaseDetector
from moat_det.errors import UserError

logger = logging.getLogger(__name__)

BEYOND_TRAINING: dict[str, Any] = {"window": "trained", "position": "stretch"}
"""Windows and position tables for images larger than those of the training, unless the user says what to take: of the
policies that are equally accurate there the cheapest (`docs/large-images.md`)."""


class WindowChooser:
    """Sets a detector's attention windows to what the size of an image asks for.

    What the user says holds for every image. Else a detector trained with windows over the whole map keeps them up to
    the size of its training and gets `BEYOND_TRAINING` above it; any other policy says itself what a larger image gets.

    Args:
        model: Changed in place; a model without windows is left as it is.
        trained_size: Height and width in pixels of the images of the training; None for a model that was not trained.
        window: The user's windows, or None.
        position: The user's form of the position tables ("stretch" or "clamp"), or None.

    Attributes:
        window: The windows of the last image; None for a model that has none.

    Raises:
        UserError: Windows are asked for, and the model has none.
    """

    def __init__(
        self,
        model: BaseDetector,
        trained_size: tuple[int, int] | None,
        window: WindowSpec | None = None,
        position: str | None = None,
    ) -> None:
        self.window: WindowSpec | None = None
        self._model = model
        self._trained_size = trained_size
        self._given = (window, position)
        self._said = ""
        if model.windowed is not None:
            self._trained = model.yaml["backbone"].get("window", "full")
        elif window is not None or position is not None:
            raise UserError("--window and --position are for models with attention windows: leave them out")

    def others(self) -> list[WindowChooser]:
        """Give choosers for the model with other windows, which may need less memory than those of the whole map."""
        if self._model.windowed is None:
            return []
        policies = ["auto"] if self._trained_size is None else ["auto", "trained"]
        return [WindowChooser(self._model, self._trained_size, p, self._given[1]) for p in policies if p != self.window]

    def follow(self, height: int, width: int) -> None:
        """Set the windows for images of this size in pixels, and say which when others than the training's come up."""
        message = self.set(height, width)
        if message and message != self._said:
            self._said = message
            logger.info(message)

    def set(self, height: int, width: int) -> str:
        """Set the windows for images of this size in pixels.

        Returns:
            A sentence on them if they are not the training's, else nothing.
        """
        windowed = self._model.windowed
        if windowed is None:
            return ""
        beyond = parse_windows(self._trained, self._trained_size) == (None, None) and self._is_beyond(height, width)
        default = BEYOND_TRAINING if beyond else {"window": self._trained, "position": "stretch"}
        window, position = self._given
        self.window = default["window"] if window is None else window
        position = default["position"] if position is None else position
        windowed.set_windows(self.window, trained_size=self._trained_size, position=position)
        if beyond and window is None:
            return (
                f"Attention windows {self.window}, position tables {position}: for images larger than those of the "
                "training; --window and --position set others"
            )
        if self.window != self._trained:
            return f"Attention windows {self.window}; those of the training were {self._trained}"
        return ""

    def _is_beyond(self, height: int, width: int) -> bool:
        return self._trained_size is not None and (height > self._trained_size[0] or width > self._trained_size[1])
