"""Splitting a dataset so that images of one thing (one board, one coil) stay together."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from moat_det.errors import UserError


def choose_train(names: Sequence[str], share: float, group: str | None = None, seed: int = 0) -> list[bool]:
    """Say of each image whether it becomes training data.

    Groups are taken in a random order; each goes to the training split where that brings it closer to its share. Both
    splits get one group at least.

    Args:
        names: The images' names, each another.
        share: Share of the images that the training split shall have, between 0 and 1.
        group: A regular expression that is searched in each name: images for which its first group, or else the whole
            match, is the same stay together. None: every image is a group.
        seed: Of the order.

    Raises:
        UserError: A parameter is out of range, a name does not match, or there is but one group.
    """
    if not 0 < share < 1:
        raise UserError(f"--split {share}: write the share of train, above 0 and below 1, such as 0.8")
    if seed < 0:
        raise UserError(f"--seed {seed}: write 0 or more")
    groups = list(names) if group is None else [group_of(name, group) for name in names]
    keys, sizes = np.unique(np.array(groups, dtype=object), return_counts=True)
    if len(keys) < 2:
        raise UserError(f"all {len(names)} images are one group, which cannot be split; correct --group")
    order = np.random.default_rng(seed).permutation(len(keys)).tolist()
    target, taken, train = share * len(names), 0, set()
    for index in order:
        size = int(sizes[index])
        if abs(taken + size - target) < abs(taken - target):
            train.add(index)
            taken += size
    smallest = min(order, key=lambda index: int(sizes[index]))
    if not train:
        train.add(smallest)
    if len(train) == len(keys):
        train.remove(smallest)
    chosen = {keys[index] for index in train}
    return [key in chosen for key in groups]


def group_of(name: str, group: str) -> str:
    """Give what the regular expression `group` finds in a name; raises `UserError` where that is nothing."""
    try:
        match = re.search(group, name)
    except re.error as error:
        raise UserError(f"--group {group}: no regular expression ({error}); correct it") from error
    found = match and (match.group(1) if match.re.groups else match.group())
    if not found:  # nothing in common makes no two images one part
        problem = f"finds nothing in {name}" if match else f"does not match {name}"
        raise UserError(f"--group {group}: {problem}; every image needs a group")
    return found
