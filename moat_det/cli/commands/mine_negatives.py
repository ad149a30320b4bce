"""`moat mine-negatives`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moat_det.cli.command import Arguments, Command
from moat_det.cli.commands import detect
from moat_det.cli.commands.detect import Files
from moat_det.cli.trained import TrainedModel
from moat_det.data.config import load_dataset
from moat_det.demo import dataset_source
from moat_det.engine.negatives import NegativeList, extended_yaml, good_images, known_images, mine
from moat_det.errors import UserError
from moat_det.files import atomic_write_text, check_writable
from moat_det.options import option


@dataclass(frozen=True)
class ListOptions:
    """What is written, and for which dataset."""

    out: str = option(..., "the list to write or to add to, .txt", metavar="FILE")
    data: str | None = option(None, "dataset YAML: images that one of its splits has are left out", metavar="YAML")
    write_yaml: Path | None = option(None, "write a dataset YAML like --data with the list in train", metavar="YAML")

    def __post_init__(self) -> None:
        """Check the values."""
        if self.write_yaml is not None and self.data is None:
            raise UserError("--write-yaml needs --data, the dataset YAML that the list is added to")


def _check(given: Mapping[str, Any]) -> None:
    for name in ("ray", "heatmap"):
        if given.get(name):
            raise UserError(f"--{name}: leave it out, the images are looked at here, for what the model detects")
    for name in ("save_csv", "save_json"):
        if given.get(name):
            raise UserError(f"--{name.replace('_', '-')}: leave it out; the detections go into a .json beside --out")
    detect.check_detection(given)


def _run(arguments: Arguments) -> None:
    options, model = arguments.take(ListOptions), arguments.take(TrainedModel).load()
    arguments.take(Files)
    detection = {**arguments.engine, **arguments.own}
    source = detection.pop("source")
    listing = NegativeList(Path(os.path.abspath(options.out)))
    data = load_dataset(dataset_source(options.data)) if options.data is not None else None
    extended = None
    if data is not None and options.write_yaml:
        extended = extended_yaml(data, listing.path, options.write_yaml)
        check_writable(options.write_yaml.parent)
    check_writable(listing.path.parent)  # before hours of detection
    images, left_out = good_images(source, known_images(data) if data is not None else {})
    for reason, count in left_out.items():
        print(f"{count} images of {source} are left out: {reason}")
    if not images:
        raise UserError(f"--source {source}: no good image is left in it")
    found, pictures = mine(model, images, detection)
    new = {path: entry for path, entry in found.items() if path not in listing.images}
    print(f"the model fires on {len(found)} of {len(images)} good images, {len(new)} of them new to the list")
    if not found and not listing.images:
        print(f"nothing to learn from them: {listing.path} is not written")
        return
    if found:
        listing.images |= found
        listing.write(pictures)
    if extended is not None and options.write_yaml:
        atomic_write_text(options.write_yaml, extended)
        print(f"train with the {len(listing.images)} images of {listing.path}: --data {options.write_yaml}")
        return
    train = data["train"] if data is not None else "images/train"
    entries = ", ".join([*(train if isinstance(train, list) else [train]), str(listing.path)])
    print(f"train with its {len(listing.images)} images: write 'train: [{entries}]' in your dataset YAML")


COMMAND = Command(
    name="mine-negatives",
    run=_run,
    check=_check,
    options=(ListOptions, *detect.COMMAND.options),
    about="It writes the list, with the detections beside it in a .json and pictures of them in a .jpg, and a dataset "
    "YAML whose train has the list added. Further rounds add to a list. Every option of moat detect is taken.",
    usage="--weights WEIGHTS --source GOOD --out LIST [--data DATA --write-yaml NEW] [--conf 0.25 ...]",
    examples=(
        "mine-negatives --weights best.pt --source good/ --out negatives.txt --data defects.yaml --write-yaml new.yaml",
    ),
    engine=detect.COMMAND.engine,
)
