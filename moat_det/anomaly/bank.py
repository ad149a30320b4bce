"""What good parts look like: features that stand for them, and how far from these other good parts lie."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moat_det.anomaly.coreset import choose_coreset
from moat_det.anomaly.distances import nearest_distances
from moat_det.anomaly.maps import smooth
from moat_det.errors import UserError
from moat_det.files import atomic_path, check_readable
from moat_det.messages import some
from moat_det.progress import progress

logger = logging.getLogger(__name__)

FORMAT = "moat_det bank 2"
SUFFIX = ".npz"
FILE = f"bank{SUFFIX}"

KEPT = 5_000
"""Features of a bank, at most."""

POOL = 50_000
"""Features that these are chosen from, at most: as many of each good part."""

LEAST_PARTS = 8
"""Good parts without which there is no bank."""

_HELD_OUT = 4  # one part in so many is not in the bank: from their scores comes the threshold
_FEW_HELD_OUT = 10


@dataclass(frozen=True, eq=False)
class Bank:
    """The memory bank of PatchCore (arXiv 2106.08265), with the threshold that comes from good parts it does not hold.

    Attributes:
        points: (M, C) float32 features, scaled.
        scale: (C,) float32, what a feature is multiplied by, after which it varies by its weight over good parts.
        good_scores: (K,) float32: the score of each good part that was held out, rising, as distances.
        parts: How many good parts the features are of.
        settings: What features depend on beside the images, as plain types.
    """

    points: Tensor
    scale: Tensor
    good_scores: np.ndarray
    parts: int
    settings: Mapping[str, Any]

    @property
    def threshold(self) -> float:
        """The distance that counts as 1: the highest score of the good parts that were held out."""
        return float(self.good_scores[-1])

    def __str__(self) -> str:
        """Say what it knows."""
        held_out = len(self.good_scores)
        return (
            f"{len(self.points)} features of {self.parts} good parts; the threshold is the highest score of {held_out} "
            f"others, so that 1 in {held_out + 1} further good parts is expected to look unlike them"
        )

    def compare(self, features: Tensor) -> np.ndarray:
        """Say how far each place of an image is from good parts.

        Args:
            features: (rows, columns, C) of the image's own cells, on the device of the bank.

        Returns:
            (rows, columns) float32, smoothed; above 1 no good part that was held out is. The highest is the image's
            score. (The weight that PatchCore's equation 7 gives it made no difference; docs/results.md.)
        """
        return self.distances(features) / np.float32(self.threshold)

    def to(self, device: torch.device) -> Bank:
        """Give it on a device."""
        return replace(self, points=self.points.to(device), scale=self.scale.to(device))

    def save(self, path: Path) -> None:
        """Write it atomically; raises `OSError`."""
        points, scale = self.points.cpu().numpy(), self.scale.cpu().numpy()
        about = np.array(json.dumps({"format": FORMAT, "parts": self.parts, "settings": self.settings}))
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, about=about, points=points, scale=scale, good_scores=self.good_scores)

    def distances(self, features: Tensor) -> np.ndarray:
        """Give what `compare` does as distances, whatever the threshold."""
        flat = features.reshape(-1, features.shape[-1]) * self.scale
        return smooth(nearest_distances(flat, self.points).reshape(features.shape[:2]).cpu().numpy())


def make_bank(
    source: str,
    files: Sequence[str],
    look: Callable[[str], Tensor | None],
    weights: Tensor,
    settings: Mapping[str, Any],
    seed: int = 0,
) -> Bank:
    """Make a bank of images of good parts; three in four go into it, the others tell the threshold.

    Args:
        source: What the user named, for messages.
        files: The images.
        look: Gives the features (rows, columns, C) of an image, on one device; None where it cannot be read.
        weights: (C,) How much each channel counts.
        settings: See `Bank`.
        seed: Of what is held out and chosen.

    Raises:
        UserError: They are too few, or all the same.
    """
    _check_count(source, len(files))
    generator = torch.Generator().manual_seed(seed)
    order = [files[index] for index in torch.randperm(len(files), generator=generator).tolist()]
    held_out, kept = order[: len(order) // _HELD_OUT], order[len(order) // _HELD_OUT :]
    unreadable: list[str] = []

    def read(part: Sequence[str], text: str) -> Iterator[Tensor]:
        for file in progress(part, text, unit="part", leave=False):
            features = look(file)
            if features is None:
                unreadable.append(file)
            else:
                yield features

    share = -(-POOL // len(kept))
    pool = [_sample(features, share, generator) for features in read(kept, "looking at good parts")]
    _check_count(source, len(pool) + len(held_out) if pool else 0, unreadable)
    bank = _of_pool(torch.cat(pool), len(pool), weights, settings, seed)
    scores = [float(bank.distances(features).max()) for features in read(held_out, "looking at those held out")]
    _check_count(source, bank.parts + len(scores), unreadable)
    if unreadable:
        logger.warning(f"--good-parts {source}: {len(unreadable)} unreadable file(s) left out: {some(unreadable, 5)}")
    if not scores or max(scores) <= 0:
        raise UserError(
            f"--good-parts {source}: those that were held out look the same as the rest to the last digit, so that no "
            "threshold follows; give pictures of different good parts"
        )
    if len(scores) < _FEW_HELD_OUT:
        logger.warning(
            f"--good-parts {source}: the threshold comes of {len(scores)} good parts alone, so that about 1 in "
            f"{len(scores) + 1} good parts will look unlike them; 100 or more good parts are better"
        )
    return replace(bank, good_scores=np.sort(np.array(scores, np.float32)))


def read_bank(path: Path, settings: Mapping[str, Any]) -> Bank:
    """Read what `Bank.save` wrote.

    Args:
        path: The file.
        settings: Those of the run: features of others cannot be compared.

    Raises:
        UserError: It is none, is damaged, or is of other settings.
    """
    again = "make it anew from the images of good parts: --good-parts FOLDER"
    check_readable(path, f"--good-parts {path}: no such file; {again}")
    try:
        with np.load(path, allow_pickle=False) as content:
            about = json.loads(str(content["about"]))
            arrays = {name: content[name] for name in ("points", "scale", "good_scores")}
            if about["format"] != FORMAT:
                raise ValueError(about["format"])
            bank = Bank(
                torch.from_numpy(arrays["points"]),
                torch.from_numpy(arrays["scale"]),
                arrays["good_scores"],
                about["parts"],
                about["settings"],
            )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"--good-parts {path}: no bank of this version, or a damaged one ({error}); {again}") from None
    for name, value in settings.items():
        if bank.settings.get(name) != value:
            is_digest = name == "weights"
            told = "" if is_digest else f", {bank.settings.get(name)}, and not {value}"
            kept = "give --amp false, or " if name == "precision" and bank.settings.get(name) == "float32" else ""
            raise UserError(f"--good-parts {path}: made with other {name}{told}; {kept}{again}")
    return bank


def _sample(features: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Give features (N, C) of an image (rows, columns, C), `count` by chance where there are more."""
    flat = features.reshape(-1, features.shape[-1])
    return flat[torch.randperm(len(flat), generator=generator)[:count].to(flat.device)]


def _of_pool(pool: Tensor, parts: int, weights: Tensor, settings: Mapping[str, Any], seed: int) -> Bank:
    deviation = pool.std(dim=0)
    # A channel that is the same everywhere on good parts says nothing of how much of it is much.
    scale = torch.where(deviation > 1e-6, weights.to(deviation) / deviation.clamp(min=1e-6), 0)
    scaled = pool * scale
    return Bank(scaled[choose_coreset(scaled, KEPT, seed)].contiguous(), scale, np.ones(1, np.float32), parts, settings)


def _check_count(source: str, count: int, unreadable: Sequence[str] = ()) -> None:
    """Raise `UserError` where there are too few good parts."""
    if count < LEAST_PARTS:
        lost = f" that can be read ({some(list(unreadable), 3)} cannot)" if unreadable else ""
        raise UserError(
            f"--good-parts {source}: {count} image(s){lost} of good parts; give {LEAST_PARTS} or more, better 100"
        )
