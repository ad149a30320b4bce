"""Does the file give what the checkpoint gives? On the same images raw outputs are compared, and final boxes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from moat_det.data.images.intensity import Intensity
from moat_det.data.images.read import in_bands
from moat_det.data.sizes.policy import SizePolicy
from moat_det.detection.detections import Detections
from moat_det.detector.nms import non_max_suppression
from moat_det.errors import UserError
from moat_det.evaluation import LEAST_SCORE
from moat_det.export.accuracy import Judge
from moat_det.export.graph import Predictions, quiet
from moat_det.runtime import RuntimeDetector

BOX_LIMIT = 0.05
"""Pixels of the input that a box of an f32 file may be away from the checkpoint's."""

SCORE_LIMIT = 1e-4
"""The same for scores."""

_CONF = 0.05  # least score of the final boxes that are compared: lower than users ask for
_SAME = 0.9  # IoU above which two boxes are of one detection
_VARIED = 16  # of so many images every fourth is compared in other shapes and depths


@dataclass
class Parity:
    """How far a file is from its checkpoint.

    Attributes:
        images: How many were compared.
        box: Largest difference of a raw box's centre and sides, in pixels of the input.
        score: Largest difference of a raw score.
        detections: Final boxes of the checkpoint with a score of 0.05 or more.
        decoded_otherwise: Of these, from the checkpoint's own raw outputs, how many the runtime names, places or scores
            otherwise, or has not, or has beside them.
        final_box: Largest difference of the corners of a final box, in pixels of the image.
        final_score: Largest difference of the score of one.
        unmatched: Final boxes that the other side does not have. Where two are equally good, rounding may let either
            suppress the other: so this is told, and is no fault by itself.
        worst: The image of the largest difference.
    """

    images: int = 0
    box: float = 0.0
    score: float = 0.0
    detections: int = 0
    decoded_otherwise: int = 0
    final_box: float = 0.0
    final_score: float = 0.0
    unmatched: int = 0
    worst: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON knows it."""
        return asdict(self)

    def add(self, box: float, score: float, final: _Final, decoded: int) -> None:
        """Take the differences of an image."""
        self.images += 1
        self.box, self.score = _larger(self.box, box), _larger(self.score, score)
        self.detections += final.detections
        self.decoded_otherwise += decoded
        self.final_box = _larger(self.final_box, final.box)
        self.final_score = _larger(self.final_score, final.score)
        self.unmatched += final.unmatched

    def fault(self, exact: bool) -> str:
        """Say what a file must not show; empty where it shows nothing of it.

        Args:
            exact: Whether its raw outputs are to be the checkpoint's, as those of an f32 file are.
        """
        most = 1.0 if exact else np.inf
        checks = (
            ("raw boxes", self.box, BOX_LIMIT * most, " px"),
            ("raw scores", self.score, SCORE_LIMIT * most, ""),
            ("boxes decoded otherwise", self.decoded_otherwise, 0, ""),
        )
        broken = [
            f"{name} {value:.3g}{unit} (at most {limit:g})"
            for name, value, limit, unit in checks
            if not value <= limit  # not a number is broken too
        ]
        return f"{', '.join(broken)}; most in {self.worst}" if broken else ""


class Reference:
    """The checkpoint's side of the comparison.

    Args:
        model: The detector as it was traced.
        names: Class index -> name.
        sizes: How images are scaled and padded.
        intensity: How more than 8 bits become 8.
        channels: Bands of the model.
        iou: Of the suppression.
        max_det: Of the suppression.
    """

    def __init__(
        self,
        model: Predictions,
        names: dict[int, str],
        sizes: SizePolicy,
        intensity: Intensity,
        channels: int,
        iou: float,
        max_det: int,
    ) -> None:
        self._model, self._names, self._sizes = model, names, sizes
        self._intensity, self._channels, self._iou, self._max_det = intensity, channels, iou, max_det

    def picture(self, image: np.ndarray) -> np.ndarray:
        """Bring an image (H, W, C) to 8 bits and to the model's bands."""
        return in_bands(self._intensity.to_uint8(image), self._channels)

    @torch.no_grad()
    def predict(self, image: np.ndarray) -> np.ndarray:
        """Give the raw predictions (4 + nc, A) of an image (H, W, C), uint8."""
        fitted, _ = self._sizes.fit(image)
        rgb = cv2.cvtColor(fitted, cv2.COLOR_BGR2RGB) if fitted.shape[2] == 3 else fitted
        batch = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].contiguous()
        predictions: np.ndarray = self._model(batch)[0].numpy()
        return predictions

    def detect(self, image: np.ndarray, predictions: np.ndarray, conf: float) -> Detections:
        """Give the final boxes."""
        height, width = image.shape[:2]
        rows, columns = self._sizes.padded(height, width)
        strides = self._model.detector.stride.int().tolist()
        kept = (
            non_max_suppression(
                torch.from_numpy(predictions)[None],
                conf,
                self._iou,
                level_sizes=[(rows // stride) * (columns // stride) for stride in strides],
                max_det=self._max_det,
            )
            .kept[0]
            .numpy()
        )
        corners = self._sizes.placement(height, width).to_image(kept[:, :4]).clip(0, [width, height] * 2)
        return Detections(corners.astype(np.float32), kept[:, 4], kept[:, 5].astype(np.int64), self._names)


def compare(
    reference: Reference, detector: RuntimeDetector, images: Iterable[tuple[Path, np.ndarray]], judge: Judge | None
) -> Parity:
    """Compare a file with its checkpoint.

    Args:
        reference: The checkpoint.
        detector: The file, loaded.
        images: File and image (H, W, C), uint8 or uint16. Some are compared in other shapes and depths too.
        judge: Gets what both sides find in the images as they are; None where nobody asks.
    """
    parity, largest = Parity(), -1.0
    for number, (path, image) in enumerate(images):
        for name, variant in variants(image) if number % 4 == 0 and number < _VARIED else [("", image)]:
            with quiet():  # both say of 16 bits that the training had none
                expected, picture = reference.predict(reference.picture(variant)), detector.read(variant)
            try:
                found = detector.predict([picture])[0]
            except UserError:
                if not name:
                    raise
                continue  # turned or cut it is of a size that the file does not take
            size = picture.shape[:2]
            wanted = reference.detect(picture, expected, _CONF)
            box, score = (float(np.abs(expected[part] - found[part]).max()) for part in (slice(4), slice(4, None)))
            final = _Final.of(wanted, detector.decode(found, size, conf=_CONF))
            decoded = _differing(wanted, detector.decode(expected, size, conf=_CONF))
            parity.add(box, score, final, decoded)
            badness = max(box / BOX_LIMIT, score / SCORE_LIMIT, decoded)
            if not badness <= largest:
                largest, parity.worst = badness, path.name + name
            if judge is not None and not name:
                judge.add(
                    path,
                    reference.detect(picture, expected, LEAST_SCORE),
                    detector.decode(found, size, conf=LEAST_SCORE),
                )
    return parity


def variants(image: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Give an image (H, W, C) as it is, turned by 90 degrees, a strip of it, and in 16 bits, and say which."""
    yield "", image
    yield " (turned)", np.ascontiguousarray(image.swapaxes(0, 1))
    yield " (its upper third)", image[: max(image.shape[0] // 3, 1)]
    if image.dtype == np.uint8:
        yield " (in 16 bits)", image.astype(np.uint16) * 257


@dataclass(frozen=True)
class _Final:
    """The final boxes of one image compared."""

    detections: int
    box: float
    score: float
    unmatched: int

    @classmethod
    def of(cls, expected: Detections, found: Detections) -> _Final:
        """Pair the boxes of one class that lie in one place, the best first."""
        box = score = 0.0
        left = np.ones(len(found), dtype=bool)
        unmatched = []
        same = _overlaps(expected.xyxy, found.xyxy) >= _SAME
        same &= expected.cls[:, None] == found.cls[None]
        for index, value in enumerate(expected.score):
            candidates = np.flatnonzero(same[index] & left)
            if not len(candidates):
                unmatched.append(value)
                continue
            # At the edge of an image several boxes may be cut to one: the score tells them apart.
            partner = candidates[np.abs(value - found.score[candidates]).argmin()]
            left[partner] = False
            box = max(box, float(np.abs(expected.xyxy[index] - found.xyxy[partner]).max()))
            score = max(score, float(abs(value - found.score[partner])))
        unmatched += found.score[left].tolist()
        # Within the limit of the least score a detection may be on one side alone.
        alone = sum(float(value) > _CONF + SCORE_LIMIT for value in unmatched)
        return cls(len(expected), box, score, alone)


def _differing(expected: Detections, found: Detections) -> int:
    """Count the detections that differ in place, score or name, where both sides had the same raw outputs."""
    if len(expected) != len(found):
        return max(len(expected), len(found))
    same = np.isclose(expected.xyxy, found.xyxy, rtol=0, atol=1e-3).all(1) & (expected.score == found.score)
    pairs = zip(expected.cls.tolist(), found.cls.tolist(), strict=True)
    named = [expected.names[one] == found.names[other] for one, other in pairs]
    return int((~(same & np.array(named, dtype=bool))).sum())


def _overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Give the IoU (N, M) of boxes (N, 4) and (M, 4); two without area overlap in all of it."""
    a, b = first[:, None], second[None]
    common = (np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])).clip(0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - common
    return np.divide(common, union, out=np.ones_like(common), where=union > 0)


def _larger(a: float, b: float) -> float:
    return b if not b <= a else a
