"""Which images stand for a split of which a part is asked for: a sample across folders and classes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.pool import ThreadPool

import numpy as np

from moat_det.cores import READING_THREADS
from moat_det.data.formats.records import Record

_SEED = 0  # one for all, so that runs with other seeds are of the same images


def choose_part(records: Sequence[Record], part: int | float) -> list[Record]:
    """Take a part of the images: of each class as large a part as of the others, in it by chance, the same every time.

    An image counts for the rarest of its classes. Of each class one image is taken at least where there are to be as
    many, and a smaller part lies within a larger one.

    Args:
        records: The images, sorted; where a part is taken, all annotations are read.
        part: How many of them, or which share (1.0: all).

    Returns:
        The chosen ones, sorted, with their annotations.

    Raises:
        UserError: An annotation is malformed.
    """
    count = part if isinstance(part, int) else max(1, round(len(records) * part))
    if count >= len(records):
        return list(records)
    with ThreadPool(READING_THREADS) as pool:
        known = pool.map(lambda record: replace(record, annotation=record.read()), records, chunksize=32)
    classes = [{row.cls for row in record.read().rows if not row.ignored} for record in known]
    images_of = Counter(cls for found in classes for cls in found)
    groups: dict[int, list[int]] = defaultdict(list)
    for place, found in enumerate(classes):
        groups[min(found, key=lambda cls: (images_of[cls], cls), default=-1)].append(place)
    random = np.random.default_rng(_SEED)
    order: list[tuple[float, int, int]] = []
    for _, group in sorted(groups.items()):
        shuffled = random.permutation(group).tolist()
        order += [(rank / len(group), len(group), place) for rank, place in enumerate(shuffled)]
    return [known[place] for place in sorted(place for *_, place in sorted(order)[:count])]
