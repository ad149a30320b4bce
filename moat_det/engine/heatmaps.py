"""Heat maps in a detection: features of the pass that detects anyway, compared with those of good parts."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moat_det.anomaly.bank import SUFFIX, Bank, make_bank, read_bank
from moat_det.anomaly.features import STRIDES, channel_weights, choose_maps, patch_features
from moat_det.anomaly.maps import own_cells, to_pixels
from moat_det.anomaly.options import HeatmapOptions
from moat_det.data.images.intensity import Intensity
from moat_det.data.images.read import read_input
from moat_det.data.sizes.letterbox import Placement
from moat_det.data.sizes.shape import Shape
from moat_det.detection.anomalies import Anomaly
from moat_det.detection.source_files import list_pictures
from moat_det.detector.base import BaseDetector
from moat_det.errors import UserError
from moat_det.messages import some
from moat_det.paths import expand_home

logger = logging.getLogger(__name__)

Looking = Callable[[str, np.ndarray], Placement]
"""Takes a file and its image (H, W, C) through the model; says where it lay in the input."""

_FINEST = STRIDES[0]


@dataclass(frozen=True, eq=False)
class Heatmap:
    """The heat map of an image.

    Attributes:
        anomaly: Its highest place.
        values: (H, W) float32, in pixels of the file; 1 is the threshold.
    """

    anomaly: Anomaly
    values: np.ndarray


class Heatmaps:
    """Compares what a detector's backbone sees with what it sees in good parts.

    Attributes:
        bank: What good parts look like; None until it was made or read.
        made: It was made in this run, so that it is worth a file.
        good_parts: The images that it was made of.

    Args:
        model: In evaluation mode, on its device.
        options: What the user asked for.

    Raises:
        UserError: The model has no backbone of ours, or one without the maps that are needed.
    """

    def __init__(self, model: BaseDetector, options: HeatmapOptions) -> None:
        if model.backbone is None:
            raise UserError("--heatmap: needs a detector on a backbone of ours; this model is one of the engine's own")
        self._backbone, self._options = model.backbone, options
        self._names = choose_maps(model.backbone.feature_info)
        self._channels = sum(model.backbone.channels[name] for name in self._names)
        self._maps: dict[str, Tensor] = {}
        self.bank: Bank | None = None
        self.made = False
        self.good_parts: list[str] = []

    @property
    def bytes_per_pixel(self) -> int:
        """Bytes for a pixel of the input beside those of the pass: features, their parts, a scaled copy; the map."""
        return -(-4 * 4 * self._channels // _FINEST**2) + 8

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Keep the maps of every pass in the block."""

        def keep(_: Any, __: Any, maps: dict[str, Tensor]) -> None:
            self._maps = {name: maps[name] for name in self._names}

        hook = self._backbone.register_forward_hook(keep)
        try:
            yield
        finally:
            hook.remove()
            self._maps = {}

    def prepare(self, settings: dict[str, Any], look: Looking, intensity: Intensity, channels: int) -> None:
        """Read the bank, or make it of the good parts; nothing is done where it is there with the same settings.

        Args:
            settings: What features depend on beside the images, as plain types.
            look: Takes an image through the model.
            intensity: How more than 8 bits become 8.
            channels: Bands of the model's input.

        Raises:
            UserError: There is no such bank or folder, it is of other settings, or has too few good parts.
        """
        if self.bank is not None and self.bank.settings == settings:
            return
        source = str(expand_home(self._options.good_parts))
        if Path(source).suffix.lower() == SUFFIX:
            bank = read_bank(Path(source), settings)
        else:
            weights = channel_weights(self._backbone.feature_info, self._names)
            reader = self._reader(look, intensity, channels)
            self.good_parts = list_pictures(source, "--good-parts")
            bank, self.made = make_bank(source, self.good_parts, reader, weights, settings), True
        self.bank = bank.to(next(self._backbone.parameters()).device)
        logger.info(f"--good-parts {source}: {bank}")

    def tell_common(self, files: Sequence[str]) -> None:
        """Say which images of a source are among the good parts that the bank was made of."""
        good = {os.path.realpath(file) for file in self.good_parts}
        if common := [file for file in files if os.path.realpath(file) in good]:
            logger.warning(
                f"{len(common)} image(s) of the source are among the good parts, and look as these do by being there: "
                f"{some(common, 3)}"
            )

    def maps(self, places: list[Placement], sizes: list[Shape]) -> list[Heatmap]:
        """Give the heat map of each image of the last pass.

        Args:
            places: Where each lay in the input.
            sizes: Height and width of each in its file.
        """
        assert self.bank is not None
        features = patch_features(self._maps, self._names)
        self._maps = {}
        found = []
        for each, place, size in zip(features, places, sizes, strict=True):
            cells = own_cells(place, size, (each.shape[0], each.shape[1]), _FINEST)
            grid = self.bank.compare(each[cells.rows, cells.columns])
            values = to_pixels(grid, cells, place, size, _FINEST)
            y, x = np.unravel_index(int(values.argmax()), values.shape)
            found.append(Heatmap(Anomaly(float(grid.max()), int(x), int(y)), values))
        return found

    def _reader(self, look: Looking, intensity: Intensity, channels: int) -> Callable[[str], Tensor | None]:
        def read(file: str) -> Tensor | None:
            try:
                image = read_input(file, intensity, channels)
            except (OSError, UserError) as error:
                reason = str(error).removeprefix(f"{file}: ")
                logger.warning(f"{file}: {error.strerror or reason if isinstance(error, OSError) else reason}")
                return None
            with torch.inference_mode():
                place = look(file, image)
                features = patch_features(self._maps, self._names)[0]
            cells = own_cells(place, image.shape[:2], (features.shape[0], features.shape[1]), _FINEST)
            return features[cells.rows, cells.columns]

        return read
