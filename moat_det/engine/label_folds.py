"""Two models, each trained on one half of the labels and asked about all of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from moat_det.data.config import DatasetConfig, kept_keys
from moat_det.data.formats.coco import coco_dictionary
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.data.groups import choose_train
from moat_det.engine.model import MOAT
from moat_det.files import atomic_write_json, atomic_write_text, claim_folder

# Of a training's arguments, those that its validation takes too.
_SHARED = ("batch", "workers", "device")


def train_folds(
    model: str,
    data: DatasetConfig,
    images: Sequence[LabelledImage],
    folder: Path,
    group: str | None,
    arguments: Mapping[str, Any],
) -> list[Path]:
    """Train a model on each half of the images, and let both detect in all of them.

    Args:
        model: What `MOAT` takes: a backbone's name or a model YAML.
        data: The dataset.
        images: Those whose labels are to be checked.
        folder: Of the run: the halves as COCO JSONs, which name the images where they are, and the folders of
            trainings and validations go there.
        group: A regular expression; images of one group stay in one half (see `choose_train`).
        arguments: Of `MOAT.train`, without `data`.

    Returns:
        The folders of the two validations.

    Raises:
        UserError: An argument is not in order, or the images cannot be divided.
    """
    names = [image.path if group is None else os.path.basename(image.path) for image in images]
    first = choose_train(names, 0.5, group, int(arguments.get("seed", 0)))
    parts = {
        "all": list(images),
        "half0": [image for image, chosen in zip(images, first, strict=True) if chosen],
        "half1": [image for image, chosen in zip(images, first, strict=True) if not chosen],
    }
    for name, part in parts.items():
        coco = coco_dictionary(part, [image.path for image in part], data["names"])
        atomic_write_json(folder / f"{name}.json", coco)
    validations = []
    for own, other in ((0, 1), (1, 0)):
        content = {
            "path": str(folder),
            "train": f"half{own}.json",
            "val": f"half{other}.json",
            "test": "all.json",
            "images": os.path.abspath(os.sep),
            "names": dict(data["names"]),
            **kept_keys(data),
        }
        file = folder / f"half{own}.yaml"
        atomic_write_text(file, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
        trained = MOAT(model)
        trained.train(
            **{**arguments, "data": str(file), "project": str(folder), "name": f"half{own}", "exist_ok": False}
        )
        shared = {name: arguments[name] for name in _SHARED if name in arguments}
        validation = claim_folder(folder / f"half{own}-val")
        place = {"project": str(folder), "name": validation.name, "exist_ok": True}
        trained.val(data=str(file), split="test", plots=False, **place, **shared)
        validations.append(validation)
    return validations
