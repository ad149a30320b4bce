"""Compares our outputs with golden ones: those of the official TensorFlow code for the same weights and image.

A folder of golden cases holds a checkpoint, `<folder>.tar.gz`, and `<case>.npz` files with an image, the
configuration and the outputs: each stage sub-sampled, its means per channel in full, the logits, and after a
training step the moving statistics.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from moat_det.backbones.moat.backbone import MOATBackbone
from moat_det.backbones.moat.create import create_moat
from moat_det.backbones.weights import load_pretrained
from moat_det.backbones.weights.layout import variable_name
from moat_det.errors import UserError

TOLERANCE = 1e-4
"""Of an output's standard deviation: rounding costs 2e-5, the mildest known mistake of a port 4.7e-4."""

STEP_TOLERANCE = 1e-3
"""Of the step of a moving statistic, which is a hundredth of the statistic: rounding costs as much more."""

_KEPT = 0.99
"""Part of a moving statistic that a step keeps."""


@dataclass(frozen=True)
class Difference:
    """How far an output of ours is from the official one; infinite where ours holds a NaN or has another shape.

    Attributes:
        absolute: The largest difference of a value.
        relative: The same in standard deviations of the output, or for moving statistics in largest steps.
        tolerance: What `relative` may be.
    """

    absolute: float
    relative: float
    tolerance: float = TOLERANCE

    @property
    def passed(self) -> bool:
        """Whether rounding explains the difference."""
        return self.relative <= self.tolerance


def find_cases(folder: str | Path) -> list[Path]:
    """Find the golden cases, `<folder>/<checkpoint>/<case>.npz`, in alphabetical order.

    Raises:
        UserError: There are none.
    """
    cases = sorted(Path(folder).glob("*/*.npz"))
    if not cases:
        raise UserError(f"{folder}: no golden cases; give the folder in which <checkpoint>/<case>.npz lie")
    return cases


def compare_case(path: str | Path) -> dict[str, Difference]:
    """Run a golden case on the backbone that it describes, with the weights of the archive beside it.

    Args:
        path: `<checkpoint>/<case>.npz`; beside it lies `<checkpoint>.tar.gz`.

    Returns:
        A difference for "stage1" to "stage5", of a case of classification for "logits", and of a case of
        training for "statistics", the moving ones of batch norm.

    Raises:
        UserError: The case or its archive is missing or damaged.
    """
    path = Path(path)
    try:
        with np.load(path) as file:
            arrays = dict(file)
        config = json.loads(str(arrays["config_json"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: not a golden case, or a damaged one; copy it anew ({error})") from error
    backbone = _build(config, path.with_name(f"{path.parent.name}.tar.gz"))
    return _compare(backbone, arrays)


def _build(config: dict[str, Any], archive: Path) -> MOATBackbone:
    backbone = create_moat(
        config["official_name"].split("_pretrain")[0].split("_finetune")[0],
        window=config["window_size"] or "full",
        global_attention_at_end_of_stage=config.get("global_attention_at_end_of_moat_stage", False),
        pool_size=config["pool_size"],
        position_embedding="_no_pe_" not in config["official_name"],
        num_classes=1000,
    )
    load_pretrained(backbone, archive)
    return backbone.train(config.get("training", False))


@torch.no_grad()
def _compare(backbone: MOATBackbone, arrays: dict[str, np.ndarray]) -> dict[str, Difference]:
    image = torch.from_numpy(arrays["image_uint8"]).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (backbone.mean, backbone.std))
    x = (image - mean) / std
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    counts = _count_pixels(backbone)
    maps = backbone.forward_features(x)
    differences = {name: _compare_stage(ours, arrays, name) for name, ours in maps.items()}
    if "logits" in arrays:
        differences["logits"] = _difference([backbone(x).numpy() - arrays["logits"]], arrays["logits"].std())
    if backbone.training:
        differences["statistics"] = _compare_statistics(backbone, before, counts, arrays)
    return differences


def _difference(deltas: list[np.ndarray], scale: float, tolerance: float = TOLERANCE) -> Difference:
    largest = float(np.max([np.abs(delta).max() for delta in deltas]))  # unlike max(), hands a NaN on
    if not math.isfinite(largest):
        return Difference(math.inf, math.inf, tolerance)
    return Difference(largest, largest / float(scale), tolerance)


def _compare_stage(ours: Tensor, arrays: dict[str, np.ndarray], name: str) -> Difference:
    nhwc, official = ours.permute(0, 2, 3, 1).numpy(), arrays[name]
    if nhwc.shape != tuple(arrays[f"{name}_shape"]):
        return Difference(math.inf, math.inf)
    deltas = [nhwc[:, arrays[f"{name}_rows"]][:, :, arrays[f"{name}_cols"]] - official]
    if f"{name}_chmean" in arrays:  # of the whole map, so that the cells left out count too
        deltas.append(nhwc.mean((0, 1, 2), np.float64) - arrays[f"{name}_chmean"])
    return _difference(deltas, official.std())


def _count_pixels(backbone: MOATBackbone) -> dict[str, int]:
    """Give the pixels over which each batch norm averages, by its name; filled when the backbone runs."""
    counts: dict[str, int] = {}
    for name, module in backbone.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda _, args, name=name: counts.update({name: args[0][:, 0].numel()}))
    return counts


def _compare_statistics(
    backbone: MOATBackbone, before: dict[str, Tensor], counts: dict[str, int], arrays: dict[str, np.ndarray]
) -> Difference:
    """Compare moving statistics after a step; the official ones take in the biased variance, torch's the unbiased."""
    found = []
    for name, after in backbone.named_buffers():
        norm, _, statistic = name.rpartition(".")
        if statistic == "num_batches_tracked":
            continue
        if statistic == "running_var":
            kept = _KEPT * before[name]
            after = kept + (after - kept) * (counts[norm] - 1) / counts[norm]
        official = arrays[f"updated/{variable_name(name)}"]
        step = np.abs(official - before[name].numpy()).max()
        found.append(_difference([after.numpy() - official], step, STEP_TOLERANCE))
    return Difference(max(d.absolute for d in found), max(d.relative for d in found), STEP_TOLERANCE)
