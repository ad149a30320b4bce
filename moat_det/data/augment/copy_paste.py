"""Defect copy-paste: defects cut from training images and blended into others, the rare classes more often."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ultralytics.utils.instance import Instances

from moat_det.data.images.broken import BrokenImageError
from moat_det.data.images.gray import spread
from moat_det.data.images.resize import resize

logger = logging.getLogger(__name__)

# The margin around a box: as wide as this share of the mean of its sides, and so many pixels. It blends the defect in,
# and shows what the surroundings look like.
_MARGIN, _LEAST_MARGIN = 0.25, 3.0
_EDGE = 1.0  # a box as near to the edge of its image, in pixels, is of a defect that goes on beyond it
_MOST_AREA = 0.25  # of the image: a cutting that is larger would replace it
_SCALES = (0.8, 1.25)  # a defect is pasted smaller or larger by as much
_CUTS = 4  # defects that are tried before an image stays as it is
_PLACES = 512  # places that are compared for a defect
_NEAR_PLACES = 64  # of those, places about where it lay in its own image
_NEAR = 0.01  # share of the image's sides that they are off by, as aligned parts are
_FINALISTS = 16  # of all places, those that are compared in more pixels
_FEW, _MANY = 24, 128  # pixels of the margin that are compared: of all places, of the finalists
_MOST_DIFFERENCE = 32.0  # gray levels between the margins, on average, from which on a place is none
_MOST_GRAIN = 0.5  # by which share of the larger one the grains of the margins may differ,
_LEAST_GRAIN = 2.0  # and by how many gray levels always
_DEFECTIVE_SHARE = 0.5  # how often an image with defects gets another, compared with a good part


@dataclass(frozen=True)
class _Cutting:
    """A defect with its margin: `image` (h, w, C), its box within (x1, y1, x2, y2), and its centre as shares."""

    image: np.ndarray
    box: np.ndarray
    centre: np.ndarray
    cls: float


class CopyPaste:
    """Blends a defect of another training image into an image, before mosaic and everything else.

    A class is drawn with a probability proportional to 1 / sqrt(its boxes), then one of its boxes that can be cut:
    whole, within its image, with nothing else in its margin. It is scaled mildly, mirrored where the training mirrors
    images, and put where the image looks most like its old surroundings, off every object and ignored region. Good
    parts get one with probability `p`, images that have defects already with half of it; where there are no good
    parts, all with `p`.

    Args:
        dataset: The `DetectionDataset` that the images and boxes come from.
        p: How often.
        mirror: Whether defects may be mirrored left to right, and top to bottom.
    """

    def __init__(self, dataset: Any, p: float, mirror: tuple[bool, bool]) -> None:
        self._dataset, self._p, self._mirror = dataset, p, mirror
        labels = dataset.labels
        self._all_defective = all(len(label["cls"]) for label in labels)
        images, rows = _whole_boxes(labels)
        classes = np.array([labels[i]["cls"][row, 0] for i, row in zip(images, rows, strict=True)])
        boxes = np.concatenate([label["cls"][:, 0] for label in labels])
        self._classes = np.unique(classes)
        self._shares = class_shares([int((boxes == cls).sum()) for cls in self._classes])
        self._pools = [np.stack([images, rows], axis=1)[classes == cls] for cls in self._classes]
        log = logger.info if len(images) else logger.warning
        log(f"{dataset.prefix}copy-paste: {len(images)} of {len(boxes)} boxes lie free and can be cut out")

    def __call__(self, sample: dict[str, Any], index: int) -> dict[str, Any]:
        """Perhaps paste a defect.

        Args:
            sample: The engine's dictionary of one image; its array is not changed, but replaced.
            index: Which image of the dataset it is.
        """
        defective = len(sample["cls"]) > 0 and not self._all_defective
        if np.random.random() >= self._p * (_DEFECTIVE_SHARE if defective else 1) or not len(self._classes):
            return sample
        taken = self._taken(index, sample["img"].shape[:2])
        pool = self._pools[np.random.choice(len(self._pools), p=self._shares)]
        for _ in range(_CUTS):
            cutting = self._cut(pool)
            if cutting is None:
                continue
            bands = max(sample["img"].shape[2], cutting.image.shape[2])  # gray beside colour becomes colour
            image, cutting = spread(sample["img"], bands), replace(cutting, image=spread(cutting.image, bands))
            place = find_place(image, cutting, taken)
            if place is not None:
                return _paste({**sample, "img": image}, cutting, place)
        return sample

    def _cut(self, pool: np.ndarray) -> _Cutting | None:
        """Cut out one of the defects (image, row) of a class; None where it is too small or its image is broken."""
        image, row = pool[np.random.randint(len(pool))].tolist()
        label = self._dataset.labels[image]
        try:
            pixels = self._dataset.images.load(image)[0]
        except BrokenImageError:
            return None
        (height, width), sides = label["shape"], np.array([pixels.shape[1], pixels.shape[0]])
        scale = np.tile(sides / [width, height], 2)
        box = label["boxes_xyxy"][row] * scale
        low, high = np.split(_with_margin(label["boxes_xyxy"][row], label["shape"]) * scale, 2)
        x1, y1 = np.ceil(low).astype(int).tolist()
        x2, y2 = np.floor(high).astype(int).tolist()
        if min(x2 - x1, y2 - y1) < 3:
            return None
        stretch = np.exp(np.random.uniform(*np.log(_SCALES)))
        rows, columns = round((y2 - y1) * stretch), round((x2 - x1) * stretch)
        mirror = [np.random.random() < 0.5 and allowed for allowed in self._mirror]
        inside = box - [x1, y1, x1, y1]
        inside *= [columns / (x2 - x1), rows / (y2 - y1)] * 2
        if min(inside[0], inside[1], columns - inside[2], rows - inside[3]) < 1:
            return None  # no margin is left
        cut = resize(pixels[y1:y2, x1:x2], rows, columns)
        if mirror[0]:
            cut, inside = cut[:, ::-1], np.array([columns - inside[2], inside[1], columns - inside[0], inside[3]])
        if mirror[1]:
            cut, inside = cut[::-1], np.array([inside[0], rows - inside[3], inside[2], rows - inside[1]])
        return _Cutting(cut, inside, (box[:2] + box[2:]) / 2 / sides, float(label["cls"][row, 0]))

    def _taken(self, index: int, shape: Sequence[int]) -> np.ndarray:
        """Give the regions of an image that are not to be pasted on, (N, 4), in pixels of the scaled image."""
        label = self._dataset.labels[index]
        height, width = label["shape"]
        regions = np.concatenate([label["boxes_xyxy"], label["ignored_xyxy"]])
        return regions * ([shape[1] / width, shape[0] / height] * 2)


def class_shares(counts: Sequence[int]) -> np.ndarray:
    """Give how often each class is drawn: in proportion to 1 / sqrt(count), so that they sum to 1.

    Of two classes with 900 and 100 boxes, the rare one makes up three quarters of what is pasted. The plain inverse
    would repeat the few boxes of the rarest class over and over.
    """
    weights = 1 / np.sqrt(np.asarray(counts, dtype=float))
    return weights / weights.sum()


def find_place(image: np.ndarray, cutting: _Cutting, taken: np.ndarray) -> tuple[int, int] | None:
    """Find where a defect may be pasted.

    Of places drawn at random, a part of them where the defect lay in its own image, those that lie on something are
    left out, and that is taken where the pixels under the margin are most like the margin's own; not where they are of
    another grain (how much a pixel differs from its neighbour), as a smooth patch on a rough surface would show.

    Args:
        image: (H, W, C) uint8.
        cutting: The defect.
        taken: (N, 4) regions in pixels, xyxy, that the cutting may not touch.

    Returns:
        Left and top of the cutting, or None where it fits nowhere or looks out of place everywhere.
    """
    (height, width), (rows, columns) = image.shape[:2], cutting.image.shape[:2]
    if rows > height or columns > width or rows * columns > _MOST_AREA * height * width:
        return None
    most = np.array([width - columns, height - rows])
    places = np.random.randint(0, most + 1, (_PLACES, 2))
    own = cutting.centre * [width, height] - (cutting.box[:2] + cutting.box[2:]) / 2
    near = own + np.random.uniform(-_NEAR, _NEAR, (_NEAR_PLACES, 2)) * [width, height]
    places[:_NEAR_PLACES] = np.clip(near.round().astype(int), 0, most)
    regions = np.hstack([places, places + np.array([columns, rows])])
    places = places[~_overlaps(regions, taken).any(axis=1)]
    if not len(places):
        return None
    ys, xs = _ring(cutting)
    few, many = np.random.randint(0, len(ys), _FEW), np.random.randint(0, len(ys), _MANY)
    middle = image.shape[2] // 2  # one band will do to leave out most
    there = _look_up(image, places, ys[few], xs[few], slice(middle, middle + 1))[..., 0]
    differences = np.abs(there - cutting.image[ys[few], xs[few], middle]).mean(axis=1)
    places = places[np.argsort(differences, kind="stable")[:_FINALISTS]]

    ys, xs = ys[many], xs[many]
    beside = np.where(xs > 0, xs - 1, 1)
    own, there = cutting.image[ys, xs].astype(np.float32), _look_up(image, places, ys, xs)
    own_grain = np.abs(own - cutting.image[ys, beside]).mean()
    grains = np.abs(there - _look_up(image, places, ys, beside)).mean(axis=(1, 2))
    alike = np.abs(grains - own_grain) <= np.maximum(_LEAST_GRAIN, _MOST_GRAIN * np.maximum(grains, own_grain))
    differences = np.where(alike, np.abs(there - own).mean(axis=(1, 2)), np.inf)
    best = int(differences.argmin())
    if differences[best] > _MOST_DIFFERENCE:
        return None
    x, y = places[best].tolist()
    return x, y


def _look_up(
    image: np.ndarray, places: np.ndarray, ys: np.ndarray, xs: np.ndarray, bands: slice = slice(None)
) -> np.ndarray:
    """Give the values of an image (H, W, C) at n pixels of a cutting that lies at each of N places: (N, n, C)."""
    width = image.shape[1]
    numbers = (places[:, 1] * width + places[:, 0])[:, None] + (ys * width + xs)
    return image.reshape(-1, image.shape[2])[:, bands].take(numbers, axis=0).astype(np.float32)


def _paste(sample: dict[str, Any], cutting: _Cutting, place: tuple[int, int]) -> dict[str, Any]:
    """Blend a defect into a sample and add its box."""
    (rows, columns), (x, y) = cutting.image.shape[:2], place
    image = sample["img"].copy()  # the dataset may hold it for the next epoch
    region = image[y : y + rows, x : x + columns]
    patch = cutting.image.astype(np.float32)
    ys, xs = _ring(cutting)
    patch += region[ys, xs].mean(axis=0, dtype=np.float32) - patch[ys, xs].mean(axis=0)
    alpha = _opacity(cutting)[..., None]
    blended = region + alpha * (np.clip(patch, 0, 255) - region)
    region[:] = (blended + 0.5).astype(np.uint8)
    height, width = image.shape[:2]
    low, high = cutting.box[:2] + place, cutting.box[2:] + place
    box = np.concatenate([(low + high) / 2, high - low]) / [width, height, width, height]
    old = sample["instances"]
    old.convert_bbox("xywh")
    old.normalize(width, height)
    boxes = np.concatenate([old.bboxes, box[None].astype(np.float32)])
    classes = np.concatenate([sample["cls"], np.array([[cutting.cls]], dtype=sample["cls"].dtype)])
    return {**sample, "img": image, "cls": classes, "instances": Instances(boxes, bbox_format="xywh", normalized=True)}


def _with_margin(boxes: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Give boxes (..., 4) with their margin, as far as it lies in an image of that (height, width)."""
    low, high = boxes[..., :2], boxes[..., 2:]
    margin = _LEAST_MARGIN + _MARGIN * (high - low).mean(axis=-1, keepdims=True)
    return np.concatenate([np.maximum(low - margin, 0), np.minimum(high + margin, [shape[1], shape[0]])], axis=-1)


def _whole_boxes(labels: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Find the boxes that can be cut out: off their image's edges, with no other region in their margin.

    Returns:
        The images and the rows in them.
    """
    images, rows = [], []
    for image, label in enumerate(labels):
        boxes, (height, width) = label["boxes_xyxy"], label["shape"]
        if not len(boxes):
            continue
        whole = (boxes[:, :2] > _EDGE).all(axis=1) & (boxes[:, 2:] < np.array([width, height]) - _EDGE).all(axis=1)
        others = np.concatenate([boxes, label["ignored_xyxy"]])
        grown = _with_margin(boxes, label["shape"])
        alone = _overlaps(grown, others).sum(axis=1) == 1  # with itself
        areas = (grown[:, 2:] - grown[:, :2]).prod(axis=1)
        found = np.flatnonzero(whole & alone & (areas <= _MOST_AREA * height * width))
        images.append(np.full(len(found), image))
        rows.append(found)
    return (np.concatenate(images), np.concatenate(rows)) if images else (np.zeros(0, int), np.zeros(0, int))


def _overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Tell which of N boxes share a part with which of M others, (N, M)."""
    low = np.maximum(boxes[:, None, :2], others[:, :2])
    high = np.minimum(boxes[:, None, 2:], others[:, 2:])
    return (low < high).all(axis=2)


def _ring(cutting: _Cutting) -> tuple[np.ndarray, np.ndarray]:
    """Give the rows and columns of a cutting's margin."""
    margin = np.ones(cutting.image.shape[:2], bool)
    x1, y1 = np.floor(cutting.box[:2]).astype(int)
    x2, y2 = np.ceil(cutting.box[2:]).astype(int)
    margin[y1:y2, x1:x2] = False
    rows, columns = np.nonzero(margin)
    return rows, columns


def _opacity(cutting: _Cutting) -> np.ndarray:
    """Give how much of each pixel is the defect's, (h, w): all within its box, ever less towards the margin's end."""
    rows, columns = cutting.image.shape[:2]
    x1, y1, x2, y2 = cutting.box
    return np.outer(_ramps(rows, y1, y2), _ramps(columns, x1, x2)).astype(np.float32)


def _ramps(length: int, start: float, end: float) -> np.ndarray:
    """Give a smooth rise from 0 to 1 at the pixel of `start`, and the fall behind that of `end`."""
    middles = np.arange(length) + 0.5
    share = np.minimum(middles / np.floor(start), (length - middles) / (length - np.ceil(end)))
    share = np.clip(share, 0, 1)
    return share * share * (3 - 2 * share)
