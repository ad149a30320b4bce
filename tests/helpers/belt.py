"""A belt that passes under a camera: a long part of the demo generator, and the frames that are cut out of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from moat_det.demo.part import NAMES, OCCURS, SURFACES, add_defect

SIDE = 96  # pixels of a frame, unless another is given


@dataclass
class Belt:
    """A long part, of which a frame is a window.

    Attributes:
        image: uint8 (H, L, 3), BGR.
        boxes: Of its defects (N, 4), x1 y1 x2 y2 in pixels of `image`.
        classes: Of its defects (N,), indices into the demo's names.
        step: Pixels by which the belt moves to the left from a frame to the next.
    """

    image: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    step: float

    def __len__(self) -> int:
        """Frames until the whole belt was seen."""
        return int((self.image.shape[1] - self.image.shape[0]) / self.step) + 1

    def frame(self, index: int) -> np.ndarray:
        """The picture at a time, square."""
        side = self.image.shape[0]
        return np.ascontiguousarray(self.image[:, round(index * self.step) :][:, :side])

    def seen(self, index: int, least: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
        """The boxes in a frame, cut off at its edges, and which defects they are of: those seen by half and more."""
        side, start = self.image.shape[0], round(index * self.step)
        moved = self.boxes - [start, 0, start, 0]
        cut = moved.clip(0, side)
        share = (cut[:, 2] - cut[:, 0]) / (moved[:, 2] - moved[:, 0])
        which = np.flatnonzero(share >= least)
        return cut[which].astype(np.float32), which


def draw_belt(seed: int = 0, length: int = 600, side: int = SIDE, step: float = 4, surface: str = "metal") -> Belt:
    """Draw a belt with as many defects as find room at some distance."""
    rng = np.random.default_rng(seed)
    good = SURFACES[surface](rng, (side, length))
    image, boxes, classes = good.image.copy(), [], []
    kinds = list(OCCURS[surface])
    for number in range(length // side):
        kind = kinds[number % len(kinds)]
        box = add_defect(rng, image, good, kind, boxes, scale=side / 192)
        if box is not None:
            boxes.append(box)
            classes.append(NAMES.index(kind))
    return Belt(image, np.array(boxes), np.array(classes), step)


def write_frames(belt: Belt, folder: Path, width: int = 1) -> Path:
    """Write the frames as pictures f1.png, f2.png, ..., the numbers at least as wide as given."""
    folder.mkdir(parents=True)
    for index in range(len(belt)):
        cv2.imwrite(str(folder / f"f{index + 1:0{width}}.png"), belt.frame(index))
    return folder


def write_video(belt: Belt, path: Path) -> Path:
    """Write the frames as a video."""
    side = belt.image.shape[0]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (side, side))
    for index in range(len(belt)):
        writer.write(belt.frame(index))
    writer.release()
    return path


def pictures(belt: Belt) -> Iterator[np.ndarray]:
    """The frames one by one."""
    return (belt.frame(index) for index in range(len(belt)))
