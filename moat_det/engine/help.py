"""The text of `--help`."""

from __future__ import annotations

import shutil
import textwrap
from dataclasses import replace
from typing import Any

from moat_det.engine.options import OWN, Command, Option, engine_options, training_defaults

USAGE: dict[Command, str] = {
    "train": "train.py --data DATA [--backbone tiny_moat2] [--imgsz 640 --epochs 100 --device 0 ...]",
    "val": "val.py --weights WEIGHTS [--data DATA] [--annotations JSON] [--imgsz 640 --split test ...]",
    "detect": "detect.py --weights WEIGHTS --source SOURCE [--conf 0.25 --save-txt --save-csv ...]",
}
_PURPOSE: dict[Command, str] = {
    "train": "Train a defect detector on labelled images.",
    "val": "Measure a trained detector: the COCO mAP by pycocotools.",
    "detect": "Detect defects in images or videos; draw and write what is found.",
}
_EXAMPLES: dict[Command, tuple[str, ...]] = {
    "train": (
        "train.py --data demo --epochs 20",
        "train.py --data defects.yaml --backbone tiny_moat2 --imgsz 1024 --device 0",
        "train.py --data coils.yaml --imgsz 256 2048",
        "train.py --resume runs/train/weights/last.pt",
    ),
    "val": (
        "val.py --weights runs/train/weights/best.pt --data defects.yaml",
        "val.py --weights best.pt --data defects.yaml --split test --annotations test.json",
        "val.py --weights best.pt --data boards.yaml --imgsz native --batch 1",
    ),
    "detect": (
        "detect.py --weights runs/train/weights/best.pt --source images/",
        "detect.py --weights best.pt --source 'images/*.png' --conf 0.4 --save-txt --save-csv",
        "detect.py --weights best.pt --source scans/ --imgsz native --max-pixels 30000000",
    ),
}
# The engine's options that lead the help, with what they mean here.
_MAIN: dict[Command, dict[str, str]] = {
    "train": {
        "data": "dataset YAML, or demo for the built-in demo set",
        "model": "model YAML of your own, instead of --backbone",
        "resume": "go on with the last run, or with that of the last.pt given",
        "imgsz": "longer side of the images in pixels, or height and width, or auto: the median shape of the data",
        "rect": "give each batch the shape of its images instead of a square",
        "copy_paste": "how often an image gets a defect that is cut out of another",
    },
    "val": {
        "data": "dataset YAML, or demo for the built-in demo set",
        "imgsz": "longer side of the images in pixels, or height and width, or native: their own size",
    },
    "detect": {
        "source": "file, folder, glob (in quotes), list file, video, or camera number",
        "imgsz": "longer side of the images in pixels, or height and width, or native: their own size",
    },
}
_WORKERS = "one per core up to 8 with a GPU, none on a CPU"
# Defaults that are not the engine's, beside those of cfg/training/default.yaml.
_DEFAULTS: dict[Command, dict[str, Any]] = {
    "train": {"nbs": "that of --batch", "workers": _WORKERS},
    "val": {"imgsz": "as trained", "conf": 0.001, "rect": True, "workers": _WORKERS},
    "detect": {"imgsz": "as trained", "conf": 0.25, "batch": 1},
}
# What leads each command's help of the engine's options, and the engine's sections that follow.
_GENERAL = "imgsz batch device conf iou max_det agnostic_nms classes augment quantize project name exist_ok verbose"
_EXTRAS: dict[Command, str] = {
    "train": "epochs imgsz batch device workers seed classes project name exist_ok verbose",
    "val": f"{_GENERAL} split workers single_cls rect plots save_txt save_conf visualize",
    "detect": f"{_GENERAL} save save_json",
}
_SECTIONS: dict[Command, tuple[str, ...]] = {
    "train": ("Train", "Val/Test", "Hyperparameters", "Custom config.yaml"),
    "val": (),
    "detect": ("Predict", "Visualize"),
}
# For other tasks than detection, or said otherwise here: accepted, but no reader needs them explained.
_UNEXPLAINED = (
    "model pretrained overlap_mask mask_ratio dropout retina_masks embed pose kobj rle angle dlog dgrad dlam "
    "copy_paste_mode auto_augment erasing"
)
_WRITING = (
    "Options are written --name value or --name=value, with - or _. A boolean may stand bare, or be given "
    "true or false. Several values are written 0 2 3 or 0,2,3."
)
_TEXT_COLUMN = 30


def help_text(command: Command) -> str:
    """The help of `command`: usage, examples, and its options in sections with their defaults."""
    width = min(shutil.get_terminal_size().columns, 120)
    known = engine_options()
    defaults = {**_DEFAULTS[command], **(training_defaults() if command == "train" else {})}
    main = [*OWN[command], *(replace(known[name], text=text) for name, text in _MAIN[command].items())]
    main.sort(key=lambda option: option.name == "debug")
    sections: dict[str, list[Option]] = {"Main": main, "General": []}
    named = {option.name for option in main}
    for option in known.values():
        if option.name in named or option.name in _UNEXPLAINED.split():
            continue
        if option.name in _EXTRAS[command].split():
            sections["General"].append(option)
        elif option.section in _SECTIONS[command]:
            sections.setdefault(option.section, []).append(option)
        else:
            continue
        named.add(option.name)

    def paragraph(text: str, indent: str = "") -> str:
        return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)

    lines = [f"usage: {USAGE[command]}", "", _PURPOSE[command], "", "examples:"]
    lines += [f"  {example}" for example in _EXAMPLES[command]]
    lines += ["", paragraph(_WRITING)]
    for title, members in sections.items():
        lines += ["", f"{title}:"]
        lines += [_entry(option, defaults.get(option.name, option.default), width) for option in members]
        if title == "Main":
            lines.append(_row("-h, --help", "show this help", width))
            lines.append(_row("--version", "show the version", width))
    rest = " ".join(option.flag for option in known.values() if option.name not in named)
    lines += ["", "Also accepted, as the engine's own (of other tasks or commands):", paragraph(rest, "  ")]
    return "\n".join(lines)


def _entry(option: Option, default: Any, width: int) -> str:
    value = "|".join(sorted(option.types)).upper()
    if option.types == {"bool"} and default is False:
        value = ""
    elif option.bare:
        value = f" [{value}]"
    else:
        value = f" {value}"
    if isinstance(default, bool):
        default = str(default).lower()
    shown = "" if default is None else f" (default: {default})"
    return _row(option.flag + value, option.text + shown, width)


def _row(left: str, text: str, width: int) -> str:
    rows = textwrap.wrap(text, max(width - _TEXT_COLUMN, 30), break_on_hyphens=False)
    head = f"  {left}"
    if len(head) > _TEXT_COLUMN - 2:
        return "\n".join([head, *(" " * _TEXT_COLUMN + row for row in rows)])
    return "\n".join([head.ljust(_TEXT_COLUMN) + rows[0], *(" " * _TEXT_COLUMN + row for row in rows[1:])])
