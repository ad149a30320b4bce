"""Changes to the pixels of a training image, by albumentations, which is imported only where a preset names some."""

from __future__ import annotations

import inspect
import logging
import random
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from ultralytics.data.augment import Albumentations

from moat_det.errors import UserError
from moat_det.messages import one_line, shown, suggest
from moat_det.values import is_number

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from albumentations import ImageOnlyTransform

_USUAL_P = 0.5  # albumentations' own
_TRIAL_SIDE = 96


def check_transforms(entries: Any, where: str) -> list[dict[str, dict[str, Any]]]:
    """Check a list of transforms as a YAML gives it.

    Args:
        entries: Each is the name of a transform, or a mapping of the name to its arguments.
        where: Leads each message: the file.

    Returns:
        The entries, each {name: {argument: value}}.

    Raises:
        UserError: A name or an argument is unknown, a value is wrong, or a transform is none of pixels alone.
    """
    if not isinstance(entries, list):
        raise UserError(f"{where}: 'transforms' is {shown(entries)}; write a list, such as '- RandomGamma: {{p: 0.3}}'")
    checked = []
    for entry in entries:
        name, arguments = next(iter(entry.items())) if isinstance(entry, dict) and len(entry) == 1 else (entry, None)
        if not isinstance(name, str) or not (arguments is None or isinstance(arguments, dict)):
            raise UserError(
                f"{where}: 'transforms' has {shown(entry)}; write '- NAME' or '- NAME: {{argument: value}}'"
            )
        probability, transform = _make(name, arguments or {}, where)
        if not 0 <= probability <= 1:
            raise UserError(f"{where}: {name} has 'p: {shown(probability)}'; write a share from 0 to 1")
        if (reason := _failure(transform, channels=3)) is not None:
            raise UserError(f"{where}: {name} cannot be used: {reason}; leave it out")
        checked.append({name: dict(arguments or {})})
    return checked


class Pixels:
    """Applies transforms, each with its probability, in their order.

    A gray image comes as one band, and so stays gray. What cannot work on one band, or on as many as the images have,
    is left out there.

    Args:
        entries: As `check_transforms` gives them.
        channels: Bands of the images.
    """

    def __init__(self, entries: Sequence[dict[str, dict[str, Any]]], channels: int) -> None:
        self._steps = {bands: _able(entries, bands) for bands in ((1, 3) if channels == 3 else (channels,))}
        for bands, steps in self._steps.items():
            able = {type(transform).__name__ for _, transform in steps}
            absent = [name for entry in entries for name in entry if name not in able]
            if absent:
                what = "gray images" if bands == 1 else f"images of {bands} bands"
                logger.warning(f"augmentation: {what} go without {', '.join(absent)}, which cannot work on them")

    def __call__(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Change `labels["img"]`, (H, W, C) uint8, BGR where there are three bands."""
        image = labels["img"]
        colour = image.shape[2] == 3
        if colour:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        for probability, transform in self._steps[image.shape[2]]:
            if random.random() < probability:
                # A generator of its own, which forked workers would share: seeded from the sample's.
                transform.set_random_seed(random.getrandbits(32))
                image = transform(image=image)["image"]
        if colour:
            image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        labels["img"] = image
        return labels


class GivenTransforms(Albumentations):
    """The engine's step for `model.train(augmentations=[...])`, whose generator starts from the sample's here."""

    def __call__(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Change the image and its boxes."""
        generator = torch.default_generator  # the engine seeds albumentations with the seed of this one
        state = generator.get_state()
        generator.manual_seed(random.getrandbits(32))
        try:
            return super().__call__(labels)
        finally:
            generator.set_state(state)


def _able(entries: Sequence[dict[str, dict[str, Any]]], channels: int) -> list[tuple[float, ImageOnlyTransform]]:
    made = [_make(name, arguments, "augmentation") for entry in entries for name, arguments in entry.items()]
    return [(probability, transform) for probability, transform in made if _failure(transform, channels) is None]


def _make(name: str, arguments: dict[str, Any], where: str) -> tuple[float, ImageOnlyTransform]:
    """Give a transform's probability and the transform, which itself always applies."""
    import albumentations

    known = {
        key: kind
        for key, kind in vars(albumentations).items()
        if inspect.isclass(kind) and issubclass(kind, albumentations.ImageOnlyTransform)
    }
    if name not in known:
        if inspect.isclass(moves := getattr(albumentations, name, None)) and issubclass(
            moves, albumentations.DualTransform
        ):
            raise UserError(
                f"{where}: {name} moves or hides what boxes stand for, 'transforms' change pixels alone; "
                "see 'engine' (fliplr, degrees, scale, ...) and 'quarter_turns'"
            )
        raise UserError(f"{where}: albumentations has no pixel transform {name!r}{suggest(name, known)}; correct it")
    parameters = list(inspect.signature(known[name]).parameters)
    for argument in arguments:
        if argument not in parameters:
            raise UserError(
                f"{where}: {name} has no argument {shown(argument)}{suggest(str(argument), parameters)}; "
                f"it takes {', '.join(parameters)}"
            )
    probability = arguments.get("p", _USUAL_P)
    if not is_number(probability):
        raise UserError(f"{where}: {name} has 'p: {shown(probability)}'; write a share from 0 to 1")
    try:
        return float(probability), known[name](**{**arguments, "p": 1.0})
    except Exception as error:  # pydantic's, and whatever a constructor raises
        raise UserError(f"{where}: {name}: {_in_a_line(error)}; correct the value") from error


def _failure(transform: ImageOnlyTransform, channels: int) -> str | None:
    """Try a transform on an image of so many bands; give what went wrong, or None."""
    image = np.random.default_rng(0).integers(0, 256, (_TRIAL_SIDE, _TRIAL_SIDE, channels), dtype=np.uint8)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = transform(image=image)["image"]
    except Exception as error:  # each transform refuses in its own way
        return _in_a_line(error)
    if result.shape != image.shape or result.dtype != np.uint8:
        return f"it makes {result.dtype} {result.shape} of uint8 {image.shape}"
    return None


def _in_a_line(error: Exception) -> str:
    details = getattr(error.__cause__, "errors", None)  # pydantic's, which albumentations wraps
    if callable(details):
        first = details()[0]
        return f"'{'.'.join(map(str, first['loc']))}': {first['msg']}"
    return one_line(error)
