"""Augmentation by name: what `--augmentation` takes, a preset of `cfg/augmentation/` or a YAML of the user's own."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ultralytics.cfg import check_cfg

from moat_det.data.augment.pixels import check_transforms
from moat_det.errors import UserError
from moat_det.messages import shown, suggest
from moat_det.paths import named_yaml
from moat_det.strict_yaml import read_yaml
from moat_det.values import is_number

# The engine's arguments that say what happens to training images.
ENGINE_KEYS = frozenset(
    {
        *("mosaic", "close_mosaic", "mixup", "cutmix", "copy_paste", "multi_scale"),
        *("degrees", "translate", "scale", "shear", "perspective", "flipud", "fliplr"),
        *("hsv_h", "hsv_s", "hsv_v", "bgr"),
    }
)


@dataclass(frozen=True)
class Preset:
    """What training does to images.

    Attributes:
        engine: The engine's arguments, of those in `ENGINE_KEYS`.
        quarter_turns: How often an image is turned by 90, 180 or 270 degrees; rectangles by 180 only.
        transforms: Changes to the pixels, each a mapping of the name in albumentations to its arguments.
    """

    engine: dict[str, Any] = field(default_factory=dict)
    quarter_turns: float = 0.0
    transforms: list[dict[str, dict[str, Any]]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Give plain types, of which `Preset(**content)` is this one again."""
        return asdict(self)


def load_preset(name: str | Path) -> Preset:
    """Read a preset.

    Args:
        name: One of `cfg/augmentation/`, or the path of a YAML (`.yaml` or `.yml`).

    Raises:
        UserError: There is no such preset, or a key, a value, a transform or an argument of it is wrong.
    """
    file = named_yaml("augmentation", name, "--augmentation")
    content = read_yaml(file)
    if not isinstance(content, dict):
        raise UserError(f"{file}: must hold the keys 'engine', 'quarter_turns' and 'transforms', or some of them")
    keys = Preset.__dataclass_fields__
    for key in content:
        if key not in keys:
            way_out = "it belongs under 'engine'" if key in ENGINE_KEYS else f"write {', '.join(keys)}"
            raise UserError(f"{file}: unknown key {shown(key)}{suggest(str(key), keys)}; {way_out}")
    content = {key: value for key, value in content.items() if value is not None}
    turns = content.get("quarter_turns", 0.0)
    if not is_number(turns) or not 0 <= turns <= 1:
        raise UserError(
            f"{file}: 'quarter_turns: {shown(turns)}' is no share of the images; write a number from 0 to 1"
        )
    return Preset(
        engine=_check_engine(content.get("engine", {}), file),
        quarter_turns=float(turns),
        transforms=check_transforms(content.get("transforms", []), str(file)),
    )


def _check_engine(arguments: Any, file: Path) -> dict[str, Any]:
    if not isinstance(arguments, dict):
        raise UserError(f"{file}: 'engine' is {shown(arguments)}; write the engine's arguments, such as 'fliplr: 0.5'")
    for key, value in arguments.items():
        if key not in ENGINE_KEYS:
            raise UserError(
                f"{file}: 'engine' has {shown(key)}, which is no augmentation of the engine's"
                f"{suggest(str(key), ENGINE_KEYS)}; it has {', '.join(sorted(ENGINE_KEYS))}"
            )
        if isinstance(value, (bool, str)) or (isinstance(value, float) and not math.isfinite(value)):
            raise UserError(f"{file}: 'engine' has '{key}: {shown(value)}'; write a number")
    arguments = dict(arguments)
    try:
        check_cfg(arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"{file}: 'engine' has {' '.join(str(error).split())}") from error
    return arguments
