"""Our own format: one .safetensors file per backbone, with what it is and where it came from as metadata."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from moat_det.backbones.moat.backbone import MOATBackbone
from moat_det.backbones.moat.create import create_moat
from moat_det.backbones.weights.files import FORMAT, WeightFile, open_weights
from moat_det.backbones.weights.find import find_release, find_weights
from moat_det.backbones.weights.identify import bands_of, classes_of, has_tables, identify
from moat_det.backbones.weights.load import load
from moat_det.backbones.weights.releases import RELEASED
from moat_det.backbones.weights.report import LoadReport
from moat_det.errors import UserError
from moat_det.files import atomic_path, sha256


def convert(source: str | Path, out: Path, *, variant: str | None = None, force: bool = False) -> LoadReport:
    """Write the weights of a backbone as .safetensors: all that the file holds of it, bit for bit.

    The metadata, all text: `format`, `variant`, `position_embedding` ("true", "false"), `classes` ("0": no
    head), `source` (the file's name), `source_sha256` (of an unpacked checkpoint that of its files in
    alphabetical order, one after the other), `mean` and `std` of the input in [0, 1] (JSON).

    Args:
        source: A released name, or a path.
        out: The file to write.
        variant: The backbone's name; None: told by the shapes.
        force: Overwrite `out`.

    Raises:
        UserError: `out` exists or cannot be written, the source is not to be found, damaged or of no variant.
    """
    if out.suffix != ".safetensors":
        raise UserError(f"{out} must end in .safetensors")
    if out.exists() and not force:
        raise UserError(f"{out} exists: give another name, or --force to overwrite it")
    if str(source) == "imagenet":
        raise UserError("'imagenet' stands for a checkpoint of every variant: name one, tiny_moat2 for example")
    # Not an earlier conversion: the metadata name the archive.
    released = RELEASED.get(str(source))
    path = find_release(released, converted=False) if released else find_weights(source)
    with open_weights(path) as file:
        variant = variant or identify(file)
        if variant is None:
            raise UserError(f"{path}: its weights are of no variant by their shapes: name one with --backbone")
        backbone = _backbone_of(variant, file)
        report = load(backbone, file)
    weights = backbone.state_dict()
    metadata = {
        "format": FORMAT,
        "variant": variant,
        "position_embedding": str(has_tables(file)).lower(),
        "classes": str(classes_of(file) or 0),
        "source": path.name,
        "source_sha256": sha256(*_files(path)),
        "mean": json.dumps(backbone.mean),
        "std": json.dumps(backbone.std),
    }
    try:
        with atomic_path(out) as temporary:
            save_file({key: weights[key].contiguous() for key in report.loaded}, temporary, metadata)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{out} cannot be written: {error}") from None
    return report


def _backbone_of(variant: str, file: WeightFile) -> MOATBackbone:
    """Give a backbone with all that the file holds, its weights not set."""
    with torch.device("meta"):
        backbone = create_moat(
            variant, position_embedding=has_tables(file), num_classes=classes_of(file), in_channels=bands_of(file)
        )
    return backbone.to_empty(device="cpu")


def _files(path: Path) -> list[Path]:
    """Give the file, or those of an unpacked checkpoint."""
    if path.is_file() and path.suffix != ".index":
        return [path]
    folder, prefix = (path, ".+") if path.is_dir() else (path.parent, re.escape(path.name.removesuffix(".index")))
    ours = re.compile(prefix + r"\.(index|data-\d{5}-of-\d{5})")
    return sorted(file for file in folder.iterdir() if ours.fullmatch(file.name))
