"""What to measure: every combination of what the user lists, checked before the first measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TypeAlias

import torch

from moat_det.backbones.timm.names import is_timm
from moat_det.backbones.windows import parse_windows, read_window
from moat_det.detector.build import find_config
from moat_det.detector.config import parse_config
from moat_det.detector.peers import is_peer
from moat_det.errors import UserError
from moat_det.paths import is_yaml

NONE = "-"
"""Stands for a setting that a model does not have."""

WHOLE = "whole"
"""Stands for an image that is not cut into tiles."""

TORCH = "torch"
"""Stands for the model itself; any other format is a file of it."""

FORMATS = {
    TORCH: ("float32", "bfloat16"),
    "torchscript": ("float32",),
    "onnx": ("float32",),
    "openvino": ("float32", "bfloat16", "int8"),
}
"""What each format is measured in."""

DTYPES = ("float32", "bfloat16", "int8")
MODES = ("forward", "train")
NORMS = ("folded", "unfolded")
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class DetectorCase:
    """A pass of a detector over images.

    Attributes:
        model: A backbone's name, the path of a model YAML, or the name of one of the engine's models.
        imgsz: Side in pixels, or HxW.
        tiles: Side of the tiles that the image is cut into (SAHI), or "whole".
        window: Attention windows as the user wrote them (see `read_window`).
        norms: "folded" or "unfolded"; "-" in training.
        dtype: What convolutions and attention compute in.
        mode: "forward" (uint8 image to decoded boxes and scores) or "train" (forward, loss, backward, AdamW step).
        recompute: "yes" if the backward pass recomputes attention; "-" for models without, and without backward pass.
        batch: Images in a pass.
        device: Where it runs: "cpu" or "cuda".
        format: Of `FORMATS`: the model in torch, or a file that was exported of it in its runtime.
        classes: That it tells apart.
        channels: Bands of the images.
    """

    model: str
    imgsz: str
    tiles: str
    window: str
    norms: str
    dtype: str
    mode: str
    recompute: str
    batch: int
    device: str = "cpu"
    format: str = TORCH
    classes: int = 10
    channels: int = 3

    @property
    def amount(self) -> float:
        """Megapixels of an image."""
        height, width = parse_size(self.imgsz)
        return height * width / 1e6


@dataclass(frozen=True)
class AttentionCase:
    """A pass of attention alone, with a relative position bias.

    Attributes:
        cells: Rows and columns of the map, HxW.
        form: "plain" (a matrix of all pairs of cells) or "blocked".
        heads: Attention heads.
        dtype: Of queries, keys, values and the position table.
        mode: "forward" or "train" (forward and backward).
        batch: Maps in a pass.
        device: Where it runs.
    """

    cells: str
    form: str
    heads: int
    dtype: str
    mode: str
    batch: int
    device: str = "cpu"

    @property
    def amount(self) -> float:
        """Thousand tokens of a map."""
        height, width = parse_size(self.cells)
        return height * width / 1e3


Case: TypeAlias = DetectorCase | AttentionCase


def parse_size(text: str) -> tuple[int, int]:
    """Read "640" or "480x640" (height x width).

    Raises:
        UserError: It is neither.
    """
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"size '{text}': give a side such as 640, or HEIGHTxWIDTH such as 480x640")
    return int(parts[0]), int(parts[-1])


def detector_cases(
    models: Sequence[str],
    peers: Sequence[str],
    *,
    imgsz: Sequence[str],
    windows: Sequence[str],
    dtypes: Sequence[str],
    modes: Sequence[str],
    norms: Sequence[str],
    checkpoint_attention: bool,
    batch: int,
    tiles: int | None,
    devices: Sequence[str] = ("cpu",),
    formats: Sequence[str] = (TORCH,),
) -> list[DetectorCase]:
    """Combine everything with everything, in the order that the user gave, sizes varying slowest but for the model.

    What a format does not have is left out: most number formats, training, unfolded norms, tiles, GPUs.

    Args:
        models: Detectors of ours.
        peers: The engine's models to compare with.
        imgsz: Sides, or HxW.
        windows: Attention windows, for models that have any to choose.
        dtypes: Of `DTYPES`.
        modes: Of `MODES`.
        norms: Of `NORMS`; training is unfolded.
        checkpoint_attention: Training recomputes attention in the backward pass.
        batch: Images in a pass.
        tiles: Detect also in tiles of this side, one image at a time, in the first of the windows.
        devices: Of `DEVICES`.
        formats: Of `FORMATS`.

    Raises:
        UserError: A model, a size, windows or a device cannot be, or a format has nothing of what is asked for.
    """
    _check_devices(devices)
    for window in windows:
        parse_windows(read_window(window))
    cases = []
    for model in [*models, *peers]:
        windowed, stride = _properties(model, must_be_peer=model in peers)
        _check_sizes(imgsz, stride, model)
        if tiles is not None and tiles % stride:
            raise UserError(f"--sliced {tiles}: must be a multiple of {stride}, the largest stride of {model}")
        reaches = windows if windowed else [NONE]
        recompute = ("yes" if checkpoint_attention else "no") if windowed else NONE
        for size, window, norm, form, dtype, mode, device in product(
            imgsz, reaches, norms, formats, dtypes, modes, devices
        ):
            if dtype not in FORMATS[form] or (form != TORCH and (mode, norm, device) != ("forward", "folded", "cpu")):
                continue
            if mode == "train":
                cases.append(DetectorCase(model, size, WHOLE, window, NONE, dtype, mode, recompute, batch, device))
                continue
            whole = DetectorCase(model, size, WHOLE, window, norm, dtype, mode, NONE, batch, device, form)
            cases.append(whole)
            if tiles is not None and form == TORCH and min(parse_size(size)) > tiles and window == reaches[0]:
                cases.append(replace(whole, tiles=str(tiles), batch=1))
    _check_formats(formats, cases)
    return list(dict.fromkeys(cases))


def attention_cases(
    cells: Sequence[str],
    forms: Sequence[str],
    heads: int,
    dtypes: Sequence[str],
    modes: Sequence[str],
    batch: int,
    devices: Sequence[str] = ("cpu",),
) -> list[AttentionCase]:
    """Combine everything with everything.

    Raises:
        UserError: A size, a number format or a device cannot be.
    """
    _check_devices(devices)
    for dtype in dtypes:
        if dtype not in FORMATS[TORCH]:
            raise UserError(f"--dtype {dtype}: attention alone is measured in {' or '.join(FORMATS[TORCH])}")
    for size in cells:
        parse_size(size)
    return [
        AttentionCase(size, form, heads, dtype, mode, batch, device)
        for size, dtype, mode, form, device in product(cells, dtypes, modes, forms, devices)
    ]


def config_name(model: str) -> str:
    """Give what `find_config` takes: the engine's models are YAML files, but named without the suffix here."""
    return f"{model}.yaml" if model.startswith(("yolo", "rtdetr")) and not is_yaml(model) else model


def _properties(model: str, must_be_peer: bool) -> tuple[bool, int]:
    """Whether a model attends within windows that can be chosen, and its largest stride in pixels."""
    config = find_config(config_name(model))
    if is_peer(config):
        return False, 64 if "-p6" in model else 32
    if must_be_peer:
        raise UserError(f"--peers {model}: is a model of ours; name it among --models")
    parsed = parse_config(config, model)
    return not is_timm(parsed.backbone["name"]), 2 ** max(parsed.neck.levels)


def _check_sizes(sizes: Sequence[str], stride: int, model: str) -> None:
    for size in sizes:
        if any(side % stride for side in parse_size(size)):
            raise UserError(f"--imgsz {size}: must be a multiple of {stride}, the largest stride of {model}")


def _check_formats(formats: Sequence[str], cases: Sequence[DetectorCase]) -> None:
    for form in formats:
        if not any(case.format == form for case in cases):
            what = "" if form == TORCH else "detection with folded norms on the cpu, "
            raise UserError(f"--formats {form}: is measured in {what}--dtype {' or '.join(FORMATS[form])}")


def _check_devices(devices: Sequence[str]) -> None:
    if "cuda" in devices and not torch.cuda.is_available():
        raise UserError("--device cuda: this machine has no such device; it has cpu")
