"""Operating points: the settings that a validation finds one with, and a prediction that takes them from its file."""

from __future__ import annotations

from typing import Any

import torch

from moat_det.backbones.windows import read_window
from moat_det.data.loader.dataset import DetectionDataset
from moat_det.data.sizes.shape import NATIVE
from moat_det.detector.base import BaseDetector
from moat_det.engine.checkpoint import weights_digest
from moat_det.engine.device import choose_device, is_mixed
from moat_det.engine.inference_options import InferenceOptions
from moat_det.engine.trained import Trained
from moat_det.errors import UserError
from moat_det.evaluation.inspection.operating_point import OperatingPoint, other_setting, read_thresholds
from moat_det.evaluation.inspection.settings import Settings

SETTINGS_OF_ARGUMENTS = {
    **{name: name for name in ("imgsz", "max_pixels", "window", "position", "rect", "iou", "agnostic_nms", "max_det")},
    **{name: name for name in ("augment", "quantize")},
    "only": "classes",
}
"""What a user may set in validation and prediction, by its name in the file; all others say what thresholds are of."""


def validation_settings(
    args: Any,
    options: InferenceOptions,
    trained: Trained,
    dataset: DetectionDataset,
    weights: str,
    classes: list[str],
    imgsz: int,
    dtype: torch.dtype,
) -> Settings:
    """Give the settings of a validation.

    Args:
        args: The engine's arguments.
        options: Our own.
        trained: What the model was trained on.
        dataset: The split.
        weights: Digest of the weights.
        classes: The model's, in their order.
        imgsz: The longer side in pixels, as the user gave it.
        dtype: That the model computes in.
    """
    return Settings(
        weights=weights,
        weights_file=str(args.model),
        split=str(dataset.index.identity()["digest"]),
        chosen_on_same_split=dataset.index.chose(trained.chosen_on),
        classes=classes,
        conf=args.conf,
        imgsz=NATIVE if options.native else list(options.shape) if options.shape else imgsz,
        max_pixels=options.max_pixels,
        window=options.window,
        position=options.position,
        rect=bool(args.rect),
        iou=args.iou,
        agnostic_nms=bool(args.agnostic_nms or args.single_cls),
        max_det=args.max_det,
        augment=bool(args.augment),
        quantize=args.quantize,
        only=args.classes,
        intensity=dataset.intensity.to_dict(),
        dtype=_name(dtype),
    )


def take_operating_point(
    given: dict[str, Any], model: BaseDetector, trained: Trained, amp: bool | str
) -> tuple[OperatingPoint, dict[str, Any]]:
    """Read the operating point of a prediction, whose thresholds and settings become the prediction's.

    Args:
        given: What the user gave, `operating_point` among it.
        model: To predict with.
        trained: What it was trained on.
        amp: The engine's argument, where the user gave none.

    Returns:
        The point, and the arguments of the prediction.

    Raises:
        UserError: The file is none, or of other weights, or something else is given that it decides.
    """
    file = given["operating_point"]
    if given.get("conf") is not None:
        raise UserError(f"--conf {given['conf']}: the thresholds are those of {file}; leave --conf or the file out")
    point = read_thresholds(file)
    settings = point.settings
    own_intensities = [trained.intensity.to_dict(), trained.intensity.settled.to_dict()]
    same = settings.weights == weights_digest(model) and settings.classes == list(model.names.values())
    if not same or settings.intensity not in own_intensities:
        raise UserError(
            f"--operating-point {file}: is of other weights ({settings.weights_file}); detect with those, or find the "
            "point of these with moat val"
        )
    # As the predictor will; before there is one, so that none is left half made.
    bits = settings.quantize if isinstance(settings.quantize, int) else None
    model.prepare(choose_device(given.get("device")), is_mixed(given.get("amp", amp), bits))
    _check_dtype(file, point, model.dtype)
    taken = dict(given)
    for name, argument in SETTINGS_OF_ARGUMENTS.items():
        wanted, own = getattr(settings, name), given.get(argument)
        if own is not None and _plain(argument, own) != wanted:
            raise other_setting(file, argument, own, wanted)
        taken[argument] = wanted
    taken["conf"] = point.least_scores().tolist()
    return point, taken


def _check_dtype(file: str, point: OperatingPoint, dtype: torch.dtype) -> None:
    """Raise `UserError` where this machine computes in another number format than the point was found in."""
    found, here = point.settings.dtype, _name(dtype)
    if found is not None and found != here:
        way_out = "add --amp false, or find" if found == "float32" else "find"
        raise UserError(
            f"--operating-point {file}: its thresholds are of scores in {found}, and here they are computed in {here}; "
            f"{way_out} one for {here}: moat val{' --amp false' if here == 'float32' else ''}"
        )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _plain(argument: str, value: Any) -> Any:
    """Give a setting of the user's as the file has it."""
    if argument == "window":
        return read_window(value)
    if argument == "imgsz" and isinstance(value, (list, tuple)):
        return list(value) if len(value) > 1 else value[0]
    return value
