"""Does the file find what the checkpoint finds? AP of both on the same labelled images, and how far it falls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.detection.detections import Detections
from moat_det.evaluation.compare import compare_ap
from moat_det.evaluation.make_evaluator import make_evaluator

AP_LIMITS = {"bf16": 0.003, "f16": 0.003, "int8": 0.005}
"""How much AP, in [0, 1], a file of each precision may lose. An f32 file is judged by its raw outputs."""

FEW = 80
"""Images below which AP falls and rises by chance more than these limits."""


@dataclass(frozen=True)
class Accuracy:
    """How AP (IoU 0.50:0.95) of a file differs from its checkpoint's.

    Attributes:
        images: How many were compared.
        objects: Labelled in them.
        checkpoint: Its AP, in [0, 1].
        file: That of the file.
        difference: The file's less the checkpoint's.
        low: Lower end of the difference's 95 % interval, by paired bootstrap over the images.
        high: Upper end.
    """

    images: int
    objects: int
    checkpoint: float
    file: float
    difference: float
    low: float
    high: float

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON knows it."""
        return asdict(self)

    def __str__(self) -> str:
        """Say it in points."""
        return (
            f"AP {100 * self.file:.2f} against {100 * self.checkpoint:.2f}, {100 * self.difference:+.2f} points "
            f"[{100 * self.low:+.2f}, {100 * self.high:+.2f}] on {self.images} images"
        )

    def fault(self, precision: str) -> str:
        """Say what a file of this precision must not lose; empty where it does not."""
        limit = AP_LIMITS.get(precision)
        return "" if limit is None or self.difference >= -limit else f"{self} (it may lose {100 * limit:.1f})"

    def doubts(self, precision: str) -> list[str]:
        """Say why the comparison proves little."""
        limit = AP_LIMITS.get(precision)
        if limit is None:
            return []
        if self.checkpoint <= limit:
            return [
                f"AP of the checkpoint is {100 * self.checkpoint:.2f} on these images: whatever the file finds, it "
                "cannot lose more, so the comparison proves nothing; give --data that the weights were trained for"
            ]
        if self.images < FEW:
            return [
                f"AP is compared on {self.images} images: of so few it changes by chance more than by "
                f"{100 * limit:.1f} points; give --data with {FEW} labelled images or more, and --images"
            ]
        return []


class Judge:
    """Collects what both sides find.

    Args:
        images: Labelled, with at least one object among them.
        names: Class index -> name.
    """

    def __init__(self, images: Sequence[LabelledImage], names: dict[int, str]) -> None:
        self._checkpoint, self._file = (make_evaluator(images, names) for _ in range(2))

    def add(self, path: Path, expected: Detections, found: Detections) -> None:
        """Take the detections of the checkpoint and of the file in an image, with scores down to `LEAST_SCORE`."""
        for side, detections in ((self._checkpoint, expected), (self._file, found)):
            side.update(path, detections.xyxy, detections.score, detections.cls)

    def result(self) -> Accuracy:
        """Compare the two."""
        truth = self._checkpoint.ground_truth
        compared = compare_ap(truth, self._checkpoint.predictions, self._file.predictions)
        assert compared is not None  # there are objects
        value, difference = compared
        objects = sum(not entry["iscrowd"] for entry in truth["annotations"])
        return Accuracy(
            len(truth["images"]),
            objects,
            value,
            value + difference.value,
            difference.value,
            difference.low,
            difference.high,
        )


def average_precision(images: Sequence[LabelledImage], names: dict[int, str], found: Sequence[Detections]) -> float:
    """Give AP (IoU 0.50:0.95), in [0, 1], of the detections in each of some labelled images."""
    evaluator = make_evaluator(images, names)
    for image, detections in zip(images, found, strict=True):
        evaluator.update(Path(image.path), detections.xyxy, detections.score, detections.cls)
    return evaluator.compute().AP
