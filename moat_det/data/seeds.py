"""Random choices that depend on (seed, epoch, image) alone: neither on the worker nor on what it drew before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

SEEDS = 2**32
"""Above every seed that NumPy's global generator takes."""


def image_seed(seed: int, epoch: int, image: int) -> int:
    """Give the seed of an image's augmentation in an epoch, from 0 to 2**32 - 1."""
    return int(np.random.SeedSequence([seed, epoch, image]).generate_state(1)[0])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let `random` and NumPy's global generator start from `seed`; afterwards they go on from where they were."""
    python, numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
