"""Images without labels, looked at exactly as a validation looked at its own."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from moat_det.data.images.find import FoundFiles, count_suffixes, find_split
from moat_det.engine.checkpoint import weights_digest
from moat_det.engine.model import MOAT
from moat_det.engine.operating_points import SETTINGS_OF_ARGUMENTS
from moat_det.engine.validator import Validator
from moat_det.errors import UserError
from moat_det.evaluation.inspection.inspection import INSPECTION
from moat_det.evaluation.inspection.settings import SETTINGS, Settings
from moat_det.evaluation.validation_folder import read_json
from moat_det.files import claim_folder

logger = logging.getLogger(__name__)


def validate_without_labels(
    run: Path, source: str, weights: str | None, folder: Path, device: str | None, group: str | None = None
) -> Path:
    """Let the model of a validation detect in new images, by the loop and the settings of the validation.

    Args:
        run: The folder of the validation.
        source: The images: a folder, a list or a file. Labels beside them are not looked at.
        weights: The checkpoint, where it lies elsewhere now; None: where the validation found it.
        folder: Where the folder `new` goes, numbered where there is one, which is as that of a validation.
        device: Of the engine; None chooses.
        group: What makes images one part, which must match their names.

    Returns:
        The new folder: with the detections, not the figures.

    Raises:
        UserError: The run, the weights, the source or the group are not in order.
    """
    try:
        settings = Settings.of(read_json(run / SETTINGS, run))
    except KeyError as error:
        raise UserError(f"{run / SETTINGS}: has no {error}; validate anew with moat val") from None
    except TypeError:
        raise UserError(f"{run / SETTINGS}: holds no settings of a validation; validate anew with moat val") from None
    checkpoint = weights or settings.weights_file
    if Path(checkpoint).is_dir():
        raise UserError(
            f"{checkpoint}: is an exported model, which detects in a dataset; let moat val look at the new images with "
            "it, and give its folder as --source"
        )
    if not Path(checkpoint).is_file():
        raise UserError(f"{checkpoint}: the weights of {run} are not there any more; give them as --weights")
    model = MOAT(checkpoint)
    if list(model.model.names.values()) != settings.classes or weights_digest(model.model) != settings.weights:
        raise UserError(f"{checkpoint}: holds other weights than {run} is of; give those that were validated")
    found = find_split(source)
    if found.videos or found.left_out:
        logger.warning(f"{source}: left out, since they are no images: {_not_images(found)}")
    images = sorted(set(found.images))
    coco = {
        "images": [{"id": number, "file_name": path} for number, path in enumerate(images, 1)],
        "annotations": [],
        "categories": [{"id": number, "name": name} for number, name in enumerate(settings.classes, 1)],
    }
    given = {argument: getattr(settings, name) for name, argument in SETTINGS_OF_ARGUMENTS.items()}
    given = {argument: value for argument, value in given.items() if value is not None}
    if settings.dtype == "float32":
        given["amp"] = False
    with tempfile.TemporaryDirectory() as temporary, _cache_in(temporary):
        listing = Path(temporary, "new.json")
        listing.write_text(json.dumps(coco), encoding="utf-8")
        content = {
            **dict.fromkeys(("train", "val"), str(listing)),
            "images": os.path.abspath(os.sep),
            "names": settings.classes,
            "channels": model.model.yaml["channels"],
        }
        data = Path(temporary, "new.yaml")
        data.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
        new = claim_folder(folder / "new")
        place = {"project": str(new.parent), "name": new.name, "exist_ok": True, "plots": False, "device": device}
        with _without_figures(new):
            model.val(data=str(data), split="val", conf=settings.conf, group=group, **given, **place)
    return new


def _not_images(found: FoundFiles) -> str:
    return " and ".join(filter(None, (count_suffixes(found.videos), found.left_out)))


@contextmanager
def _cache_in(folder: str) -> Iterator[None]:
    """Keep an index in a folder that goes: files that are gone themselves lead nobody to it again."""
    name = "MOAT_DET_CACHE"
    before = os.environ.get(name)
    os.environ[name] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _without_figures(folder: Path) -> Iterator[None]:
    """Neither say nor keep the figures of a validation, which are wrong where no image has labels."""
    log = logging.getLogger(Validator.__module__)
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)
        for name in ("metrics.json", INSPECTION):
            (folder / name).unlink(missing_ok=True)
