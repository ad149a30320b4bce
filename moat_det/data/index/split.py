"""The index of a split: what the rest of the program knows of its images and boxes, whatever format they came from."""

from __future__ import annotations

import gc
import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from moat_det.data.formats.annotation import Cleaning
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.data.images.find import count_suffixes

logger = logging.getLogger(__name__)

_SHOWN_FILES = 5


@dataclass
class ScanReport:
    """What a scan of a split found.

    Attributes:
        images: Readable images.
        labelled: Images with one object or more.
        backgrounds: Images without an object.
        unreadable: (file, reason) of each image that was left out.
        deep: Images with more than 8 bits per sample.
        ignored: Regions that are no objects (COCO's crowds).
        wrong_sizes: (file, what its annotation declares and what it is), where the two differ.
        several: (file, how many) of each image whose file holds more pictures than the one that is used.
        cleaning: Changes to the boxes.
        unused: Files that lie in the folders and are not used; not kept in the cache.
        unnamed: Images that no XML file names and that may be good parts of another split, or of none.
        unlisted: Images beside COCO JSONs that nothing in the dataset names; not kept in the cache.
    """

    images: int = 0
    labelled: int = 0
    backgrounds: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    deep: int = 0
    ignored: int = 0
    wrong_sizes: list[tuple[str, str]] = field(default_factory=list)
    several: list[tuple[str, int]] = field(default_factory=list)
    cleaning: Cleaning = field(default_factory=Cleaning)
    unused: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)

    def log(self, prefix: str = "", channels: int = 3) -> None:
        """Log one line of counts, and one for each thing that deserves the user's eye.

        Args:
            prefix: Put before each message.
            channels: Of the images; the pages of those with other than 1 or 3 are their bands.
        """
        logger.info(
            f"{prefix}{self.images} images: {self.labelled} with boxes, {self.backgrounds} backgrounds, "
            f"{len(self.unreadable)} unreadable"
        )
        if text := str(self.cleaning):
            logger.warning(f"{prefix}labels cleaned (the files stay as they are): {text}")
        if self.ignored:
            logger.info(
                f"{prefix}{self.ignored} crowd regions: evaluation ignores what is found in them, training knows "
                "nothing of them"
            )
        if self.wrong_sizes:
            path, reason = self.wrong_sizes[0]
            logger.warning(
                f"{prefix}{len(self.wrong_sizes)} annotations declare another size than their image has; the image "
                f"counts, and boxes are taken as pixels of it. The first: {path}: {reason}"
            )
        if self.unused:
            logger.warning(
                f"{prefix}left out, since they are neither images nor the labels of any: {count_suffixes(self.unused)} "
                f"(the first: {self.unused[0]}); give them the names of images or labels, or move them away"
            )
        if self.unnamed:
            logger.warning(
                f"{prefix}left out, since no XML file names them and their folder is not one of this split's images "
                f"alone: {count_suffixes(self.unnamed)} (the first: {self.unnamed[0]}); write an XML file for each, "
                "without objects if it is good, or give each split a folder of images of its own"
            )
        if self.unlisted:
            logger.warning(
                f"{prefix}left out, since no COCO JSON of the dataset lists them: {count_suffixes(self.unlisted)} "
                f"(the first: {self.unlisted[0]}); add them to a JSON, without boxes if they are good, or move them"
            )
        if self.several and channels in {1, 3}:
            path, number = self.several[0]
            logger.warning(
                f"{prefix}{len(self.several)} files hold several pictures, of which the first alone is used (such as "
                f"{path}, which has {number}); save each picture as a file of its own"
            )
        for path, reason in self.unreadable[:_SHOWN_FILES]:
            logger.warning(f"{prefix}left out {path}: {reason}")
        if len(self.unreadable) > _SHOWN_FILES:
            logger.warning(f"{prefix}left out {len(self.unreadable) - _SHOWN_FILES} more unreadable images")
        if self.deep:
            logger.info(
                f"{prefix}{self.deep} images have more than 8 bits per sample; 'intensity' in the dataset YAML says "
                "how they become 8"
            )


@dataclass(eq=False)
class SplitIndex:
    """The images and boxes of a split. N images have M boxes together.

    Attributes:
        formats: The annotation formats of its parts: "yolo", "coco", "voc".
        paths: The images, absolute, sorted.
        shapes: (N, 2) int64, height and width in pixels after the EXIF rotation.
        starts: (N + 1,) int64: image i has the boxes from `starts[i]` to `starts[i + 1]`.
        classes: (M,) int64.
        boxes: (M, 4) float64, xyxy in pixels, within the image.
        shares: (M, 4) float64, centre x, centre y, width, height as shares of the image's sides.
        ignored: (M,) bool, True for a region that is no object.
        report: What was found and changed on the way.
    """

    formats: list[str]
    paths: list[str]
    shapes: np.ndarray
    starts: np.ndarray
    classes: np.ndarray
    boxes: np.ndarray
    shares: np.ndarray
    ignored: np.ndarray
    report: ScanReport

    def identity(self) -> dict[str, int | str]:
        """Give what tells these images and labels from others, wherever they lie: two counts, and a digest.

        The digest is of the images' names and sizes and of their boxes, in no order; not of their pixels.
        """
        digests = []
        for image in self.images():
            parts = [os.path.basename(image.path).encode("utf-8", "surrogateescape")]
            parts += [np.array([image.height, image.width]).tobytes(), image.classes.tobytes(), image.ignored.tobytes()]
            parts.append(np.round(image.shares, 6).tobytes())
            digests.append(hashlib.blake2b(b"/".join(parts), digest_size=16).digest())
        digest = hashlib.blake2b(b"".join(sorted(digests)), digest_size=16).hexdigest()
        return {"images": len(self.paths), "boxes": len(self.classes), "digest": digest}

    def images_digest(self) -> str:
        """Give what tells these images from others by their names and sizes, whatever their labels say now."""
        rows = zip(self.paths, self.shapes.tolist(), strict=True)
        names = sorted(f"{os.path.basename(path)}/{height}x{width}" for path, (height, width) in rows)
        return hashlib.blake2b("\n".join(names).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()

    def chose(self, chosen_on: str | None) -> bool | None:
        """Whether a model's weights were chosen by these images; None where nobody knows.

        Args:
            chosen_on: `images_digest` of those that chose them, as far as it is known.
        """
        return None if chosen_on is None else chosen_on == self.images_digest()

    def images(self) -> Iterator[LabelledImage]:
        """Give each image with its boxes, which are views of the index's arrays."""
        rows = zip(self.paths, self.shapes.tolist(), self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True)
        for path, (height, width), low, high in rows:
            arrays = (array[low:high] for array in (self.classes, self.boxes, self.shares, self.ignored))
            yield LabelledImage(path, height, width, *arrays)

    def labels(self) -> list[dict[str, Any]]:
        """Give a dictionary of each image, in the engine's words.

        Returns:
            Per image `im_file`, `shape` (h, w), `cls` float32 (N, 1) and `bboxes` float32 (N, 4) as shares, xywh.
            Keys of ours: `boxes_xyxy`, float64 (N, 4), in pixels, and, of the ignored regions, which the others leave
            out, `ignored_xyxy` float64 (K, 4) and `ignored_cls` float32 (K, 1).
        """
        classes = self.classes.astype(np.float32)[:, None]
        shares = self.shares.astype(np.float32)
        # Objects before ignored regions, each in its order: so both are slices, which cost no copy per image.
        owners = np.repeat(np.arange(len(self.paths)), np.diff(self.starts))
        order = np.lexsort((self.ignored, owners))
        classes, shares, boxes = classes[order], shares[order], self.boxes[order]
        objects = np.bincount(owners[~self.ignored], minlength=len(self.paths))
        middles = (self.starts[:-1] + objects).tolist()
        rows = zip(
            self.paths, self.shapes.tolist(), self.starts.tolist(), middles, self.starts[1:].tolist(), strict=False
        )
        with _no_garbage_collection():
            return [
                {
                    "im_file": path,
                    "shape": tuple(shape),
                    "cls": classes[start:middle],
                    "bboxes": shares[start:middle],
                    "boxes_xyxy": boxes[start:middle],
                    "ignored_cls": classes[middle:end],
                    "ignored_xyxy": boxes[middle:end],
                }
                for path, shape, start, middle, end in rows
            ]


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Make many objects that stay: looking through them for garbage takes most of the time otherwise."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
