"""The same picture twice: to the pixel, or nearly, as after another compression or scaling."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from moat_det.checks.decode import ImageFacts
from moat_det.checks.faults import Fault
from moat_det.checks.fingerprint import SIDE
from moat_det.checks.samples import Sample
from moat_det.progress import progress

# Measured on steel, boards and cells: copies stored as JPEG of quality 30, at half size or with noise stay within the
# limits; parts of one template that differ by a defect have a block of 2 and more.
_POOLED_SIDE = 32
_LEAST_POOLED = 0.85
_LEAST_CORRELATION = 0.75
_BLOCKS = 16
_LARGEST_BLOCK = 1.0
_LARGEST_ASPECT_RATIO = 1.02
# So many other parts of one layout tell what is common to all; more than that make it no clearer.
_ENOUGH_OTHERS = 3
_MOST_OTHERS = 15
_LEAST_OWN_CORRELATION = 0.6
_CHUNK = 256


def same_pictures(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Give the groups of two and more readable samples whose pixels are equal, each in the order of the samples."""
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if facts := sample.readable:
            groups[facts.digest].append(sample)
    return [group for group in groups.values() if len(group) > 1]


def duplicate_faults(samples: Sequence[Sample]) -> Iterator[Fault]:
    """Tell each picture that is there more than once, and each that is nearly another one."""
    for group in same_pictures(samples):
        first = group[0]
        for other in group[1:]:
            kind = "duplicate_across_splits" if first.split != other.split else "duplicate_image"
            if not same_labels(first, other):
                kind = "duplicates_disagree"
            yield _pair(kind, first, other, "the same file" if first.image == other.image else "the same pixels")
    for first, other, likeness in near_pairs(samples):
        kind = "near_duplicate_across_splits" if first.split != other.split else "near_duplicate"
        agree = same_labels(first, other)
        yield _pair(kind, first, other, f"correlation {likeness:.2f}, {'the same' if agree else 'other'} labels,")


def same_labels(a: Sample, b: Sample) -> bool:
    """Whether the boxes of two readable samples of one picture are the same, to a pixel, in any order."""
    one, other = a.labelled, b.labelled
    assert one is not None
    assert other is not None
    other_boxes = other.boxes * ([one.width / other.width, one.height / other.height] * 2)
    if len(one.classes) != len(other.classes):
        return False
    free = np.ones(len(one.classes), dtype=bool)
    for cls, box, ignored in zip(one.classes, one.boxes, one.ignored, strict=True):
        alike = (other.classes == cls) & (other.ignored == ignored)
        fits = free & alike & (np.abs(other_boxes - box) <= 1).all(axis=1)
        if not fits.any():
            return False
        free[np.argmax(fits)] = False
    return True


def near_pairs(samples: Sequence[Sample]) -> Iterator[tuple[Sample, Sample, float]]:
    """Give each sample that is nearly an earlier one, with that one and their correlation.

    Candidates correlate in coarse fingerprints; each is confirmed on fine ones, where no block may differ: a defect on
    one of two boards of the same layout does. Where more parts look like both, what those most like them have in common
    is taken out first: two good parts of one layout share no more than that, two copies share their noise too.
    """
    unique = {facts.digest: (s, facts) for s in reversed(samples) if (facts := s.readable) and facts.detail is not None}
    known = list(unique.values())[::-1]
    if len(known) < 2:
        return
    pooled = np.stack([_pooled(facts) for _, facts in known])
    seen: set[int] = set()
    for start in progress(range(0, len(known), _CHUNK), "Comparing", unit="chunk"):
        for i, nearest, candidates in _candidates(pooled, start):
            for j in candidates:
                if j in seen:
                    continue
                others = [known[k][1] for k in nearest if k not in (i, j)][:_MOST_OTHERS]
                correlation = _confirm(known[i][1], known[j][1], others)
                if correlation is not None:
                    seen.add(j)
                    yield known[i][0], known[j][0], correlation


def _candidates(pooled: np.ndarray, start: int) -> Iterator[tuple[int, list[int], list[int]]]:
    """Compare a chunk of coarse fingerprints with all.

    On a line that takes pictures of one layout all are alike: there the common part is taken out here too, so that the
    pairs to be confirmed do not grow with the square of the images.

    Args:
        pooled: (N, 1024), each of length 1.
        start: The first row of the chunk.

    Yields:
        A row, the few rows most like it, the most alike first, and the later rows that may be copies of it.
    """
    chunk = pooled[start : start + _CHUNK]
    likeness = chunk @ pooled.T
    alike = likeness >= _LEAST_POOLED
    few = min(_MOST_OTHERS + 2, len(pooled))  # the row itself, its copy, and the others
    nearest = np.argpartition(likeness, len(pooled) - few, axis=1)[:, len(pooled) - few :]
    nearest.sort(axis=1)  # a partition leaves the order of equals open
    crowded = np.flatnonzero(alike.sum(axis=1) > few)
    if len(crowded):
        common = (pooled[nearest[crowded]].sum(axis=1) - chunk[crowded]) / (few - 1)
        with_all, with_self = common @ pooled.T, (common * chunk[crowded]).sum(axis=1, keepdims=True)
        square = (common**2).sum(axis=1, keepdims=True)
        product = likeness[crowded] - with_all - with_self + square
        lengths = (1 - 2 * with_all + square) * (1 - 2 * with_self + square)
        alike[crowded] &= product >= _LEAST_OWN_CORRELATION * np.sqrt(np.maximum(lengths, 1e-12))
    for offset in np.flatnonzero(alike.sum(axis=1) > 1).tolist():
        i = start + offset
        later = i + 1 + np.flatnonzero(alike[offset, i + 1 :])
        if len(later):
            likest = later[np.argsort(-likeness[offset, later], kind="stable")][:_MOST_OTHERS]
            order = nearest[offset][np.argsort(-likeness[offset, nearest[offset]], kind="stable")]
            yield i, order[likeness[offset, order] >= _LEAST_POOLED].tolist(), likest.tolist()


def _confirm(a: ImageFacts, b: ImageFacts, others: Sequence[ImageFacts]) -> float | None:
    """Give the correlation of two pictures; None if they are not nearly the same."""
    aspect = a.width / a.height * b.height / b.width
    if max(aspect, 1 / aspect) > _LARGEST_ASPECT_RATIO:
        return None
    x, y = _detail(a), _detail(b)
    correlation = float((x * y).mean())
    blocks = cv2.resize((x - y) ** 2, (_BLOCKS, _BLOCKS), interpolation=cv2.INTER_AREA)
    if correlation < _LEAST_CORRELATION or blocks.max() > _LARGEST_BLOCK:
        return None
    if len(others) >= _ENOUGH_OTHERS:
        common = np.median([_detail(other) for other in others], axis=0)
        if np.corrcoef((x - common).ravel(), (y - common).ravel())[0, 1] < _LEAST_OWN_CORRELATION:
            return None
    return correlation


def _detail(facts: ImageFacts) -> np.ndarray:
    """Give the fingerprint with mean 0 and standard deviation 1."""
    assert facts.detail is not None
    detail = facts.detail.astype(np.float32)
    return detail / detail.std()


def _pooled(facts: ImageFacts) -> np.ndarray:
    """Give a coarse fingerprint, (1024,) of length 1."""
    factor = SIDE // _POOLED_SIDE
    coarse = _detail(facts).reshape(_POOLED_SIDE, factor, _POOLED_SIDE, factor).mean(axis=(1, 3)).ravel()
    coarse -= coarse.mean()
    return coarse / max(float(np.linalg.norm(coarse)), 1e-6)


def _pair(kind: str, first: Sample, other: Sample, why: str) -> Fault:
    split = "+".join(dict.fromkeys((first.split, other.split)))
    return Fault(kind, split, other.image, f"{why} as {first.image}", image=other.image, other=first.image)
