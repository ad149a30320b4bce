"""From images to detections with an exported model, by the preprocessing of training, validation and detection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np

from moat_det.data.images.depth import intensity_of_run
from moat_det.data.images.read import in_bands, read_input
from moat_det.data.sizes.policy import SizePolicy
from moat_det.detection.detections import Detections
from moat_det.errors import UserError
from moat_det.runtime.backends import Backend
from moat_det.runtime.metadata import Metadata
from moat_det.runtime.nms import non_max_suppression

Image: TypeAlias = np.ndarray | str | Path


class RuntimeDetector:
    """Detects in images.

    Attributes:
        metadata: What the artefact says of itself.
        sizes: How images are scaled and padded.
        digest: SHA-256 of the artefact's files together.

    Args:
        backend: The model.
        metadata: Its own.
        sizes: How images are scaled and padded.
        digest: See above.
    """

    def __init__(self, backend: Backend, metadata: Metadata, sizes: SizePolicy, digest: str) -> None:
        self._backend = backend
        self.metadata = metadata
        self.sizes = sizes
        self.digest = digest
        self._intensity = intensity_of_run(metadata.read_intensity())

    def __call__(
        self,
        images: Image | Sequence[Image],
        *,
        conf: float | np.ndarray | None = None,
        iou: float | None = None,
        max_det: int | None = None,
        classes: Sequence[int] | None = None,
        batch: int = 1,
    ) -> Detections | list[Detections]:
        """Detect in an image, or in several.

        Args:
            images: Paths, or arrays (H, W) or (H, W, C), uint8 or uint16, BGR where C is 3 (as OpenCV reads).
            conf: Least score of a detection, in [0, 1], or that of each class (nc,); None for the artefact's.
            iou: Overlap above which the weaker of two boxes goes; None for the artefact's.
            max_det: Most detections in an image; None for the artefact's.
            classes: Only these.
            batch: Images of one shape that go through the model together.

        Returns:
            The detections of the one image, or a list of those of each.

        Raises:
            UserError: An image has other bands than the model, or a size that the file does not take.
        """
        if isinstance(images, (np.ndarray, str, Path)):
            return self([images], conf=conf, iou=iou, max_det=max_det, classes=classes)[0]  # type: ignore[index]
        found: list[Detections] = []
        for start in range(0, len(images), batch):
            pictures = [self.read(image) for image in images[start : start + batch]]
            for picture, boxes in zip(pictures, self.predict(pictures), strict=True):
                found.append(self.decode(boxes, picture.shape[:2], conf, iou, max_det, classes))
        return found

    def predict(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Give the raw predictions (4 + nc, A) of each image (H, W, C), uint8; those of one shape go together."""
        return self.infer([self.prepare(image) for image in images])

    def infer(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Give the raw predictions (4 + nc, A) of each input of `prepare`; those of one shape go together."""
        raw: list[np.ndarray] = [np.empty(0)] * len(inputs)
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, one in enumerate(inputs):
            groups.setdefault(one.shape, []).append(index)
        for members in groups.values():
            static = self.metadata.shape is not None
            for part in [[index] for index in members] if static else [members]:
                output = self._backend(np.stack([inputs[index] for index in part]))
                for index, of_image in zip(part, output, strict=True):
                    raw[index] = of_image
        return raw

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """Make the model's input (C, H, W) uint8, RGB, of an image (H, W, C) uint8, BGR where C is 3."""
        fitted, _ = self.sizes.fit(image)
        self.metadata.check(*fitted.shape[:2])
        if fitted.shape[2] == 3:
            fitted = cv2.cvtColor(fitted, cv2.COLOR_BGR2RGB)
        return np.ascontiguousarray(fitted.transpose(2, 0, 1))

    def decode(
        self,
        predictions: np.ndarray,
        size: tuple[int, ...],
        conf: float | np.ndarray | None = None,
        iou: float | None = None,
        max_det: int | None = None,
        classes: Sequence[int] | None = None,
        agnostic: bool = False,
    ) -> Detections:
        """Suppress double boxes and bring the rest into the image's pixels.

        Args:
            predictions: (4 + nc, A), of `predict`.
            size: Height and width of the image.
            conf: See `__call__`; so are the others.
            iou: Overlap.
            max_det: Most detections.
            classes: Only these.
            agnostic: Boxes suppress those of other classes too.
        """
        return self.suppress(predictions, size, conf, iou, max_det, classes, agnostic)[0]

    def suppress(
        self,
        predictions: np.ndarray,
        size: tuple[int, ...],
        conf: float | np.ndarray | None = None,
        iou: float | None = None,
        max_det: int | None = None,
        classes: Sequence[int] | None = None,
        agnostic: bool = False,
    ) -> tuple[Detections, int]:
        """Do what `decode` does; gives also how many there are at least, which may be more than `max_det`."""
        height, width = size[:2]
        facts = self.metadata
        kept, found = non_max_suppression(
            predictions,
            facts.conf if conf is None else conf,
            facts.iou if iou is None else iou,
            level_sizes=facts.level_sizes(*self.sizes.padded(height, width)),
            classes=classes,
            agnostic=agnostic,
            max_det=facts.max_det if max_det is None else max_det,
        )
        corners = self.sizes.placement(height, width).to_image(kept[:, :4]).clip(0, [width, height] * 2)
        rows = np.column_stack([corners.astype(np.float32), kept[:, 4:]])
        return Detections.of(rows, dict(enumerate(facts.names))), found

    def read(self, image: Image) -> np.ndarray:
        """Give an image (H, W, C), uint8."""
        channels = self.metadata.channels
        if isinstance(image, np.ndarray):
            picture, name = in_bands(self._intensity.to_uint8(np.atleast_3d(image)), channels), "the array"
        else:
            picture, name = read_input(image, self._intensity, channels), str(image)
        if picture.shape[2] != channels:
            raise UserError(f"{name} has {picture.shape[2]} bands, the model takes {channels}")
        return picture
