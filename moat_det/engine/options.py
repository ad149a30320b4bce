"""The options of each command: the engine's, read from its own default.yaml, and ours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import yaml
from ultralytics.utils import DEFAULT_CFG_DICT, DEFAULT_CFG_PATH

from moat_det.paths import cfg_dir

Command = Literal["train", "val", "detect"]

# The script decides both.
_FIXED = ("task", "mode")
# Where the engine takes more, or less, than its comment says.
_TYPES = {"imgsz": "int | list[int] | native | auto", "resume": "bool | str"}

_SECTION = re.compile(r"# (?P<title>[A-Z].*?)(?: settings)?(?: -+)?$")
_ENTRY = re.compile(r"(?P<name>\w+):.*?# \((?P<types>[^)]*)\) (?P<text>.*)$")


@dataclass(frozen=True)
class Option:
    """One command-line option.

    Attributes:
        name: With underscores, as the engine spells it.
        types: What a value may be: `bool`, `int`, `float`, `str`, `list`, `list[int]` or `tuple`, or a word as it is.
        text: What it does, for the help.
        default: The value when it is not given.
        section: The heading over it in the engine's default.yaml.
    """

    name: str
    types: frozenset[str]
    text: str
    default: Any = None
    section: str = ""

    @property
    def flag(self) -> str:
        """The spelling that help and messages show."""
        return "--" + self.name.replace("_", "-")

    @property
    def bare(self) -> bool:
        """May stand without a value, which means true."""
        return "bool" in self.types

    @property
    def many(self) -> bool:
        """May take several values."""
        return any(kind.startswith(("list", "tuple")) for kind in self.types)


def _option(name: str, types: str, text: str, **rest: Any) -> Option:
    kinds = re.split(r"[|,]", types.replace(" ", ""))
    return Option(name, frozenset(kinds) - {"optional"}, text, **rest)


def training_defaults() -> dict[str, Any]:
    """Our defaults of the engine's training arguments, where they differ from its own."""
    path = cfg_dir() / "training" / "default.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@cache
def engine_options() -> dict[str, Option]:
    """The engine's arguments, with the types and texts of the comments in its default.yaml."""
    options: dict[str, Option] = {}
    section, after_blank = "", False
    for line in DEFAULT_CFG_PATH.read_text(encoding="utf-8").splitlines():
        if (heading := _SECTION.match(line)) and after_blank:
            section = heading["title"]
        elif (entry := _ENTRY.match(line)) and (name := entry["name"]) not in _FIXED:
            types, default = _TYPES.get(name, entry["types"]), DEFAULT_CFG_DICT[name]
            options[name] = _option(name, types, entry["text"], default=default, section=section)
        after_blank = not line.strip()
    return options


_DEBUG = _option("debug", "bool", "show the traceback of an error", default=False)
_WEIGHTS = _option("weights", "str", "trained checkpoint, e.g. runs/train/weights/best.pt")
_WINDOW = _option(
    "window",
    "str",
    "attention windows: full, auto, auto:TOKENS, trained, N or HxW cells, or a list of four, one per stage",
)
_LARGE_IMAGES = (
    _option("max_pixels", "int", "with --imgsz native, scale images of more pixels down to as many"),
    _WINDOW,
    _option("position", "str", "position tables in windows larger than the training's: stretch or clamp"),
)

# The options that are not the engine's. They are kept apart, since its `get_cfg` refuses unknown keys.
OWN: dict[Command, tuple[Option, ...]] = {
    "train": (
        _option("backbone", "str", "backbone by name, e.g. tiny_moat2: trains cfg's model YAML of that name"),
        _option(
            "weights",
            "str",
            "start from imagenet (downloaded once), a best.pt, or a file of backbone weights "
            "(.safetensors, .pt, an official TensorFlow checkpoint or its .tar.gz)",
        ),
        _option("freeze_backbone", "int", "hold the backbone still for this many epochs at the start", default=0),
        _option(
            "layer_decay",
            "float",
            "factor on the learning rate for each backbone layer from neck to stem, e.g. 0.9; 1 is off",
            default=1.0,
        ),
        _WINDOW,
        _option("augmentation", "str", "what is done to training images: none, light, surface, board, or a YAML"),
        _DEBUG,
    ),
    "val": (
        _WEIGHTS,
        _option("annotations", "str", "COCO JSON to validate against; images are matched by file name"),
        *_LARGE_IMAGES,
        _DEBUG,
    ),
    "detect": (
        _WEIGHTS,
        _option("save_csv", "bool", "save the detections as CSV", default=False),
        *_LARGE_IMAGES,
        _DEBUG,
    ),
}


def options(command: Command) -> dict[str, Option]:
    """Every option that `command` accepts, by name."""
    return {**engine_options(), **{option.name: option for option in OWN[command]}}
