"""`moat train`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from moat_det.backbones.timm.names import is_timm
from moat_det.cli.command import Arguments, Command, EngineHelp
from moat_det.cli.processes import DEVICE, in_processes
from moat_det.cli.shared import DATA
from moat_det.engine.arguments import training_defaults
from moat_det.engine.distributed.devices import named_devices
from moat_det.engine.distributed.group import is_launched
from moat_det.engine.model import DEFAULT_BACKBONE, MOAT
from moat_det.engine.train_options import TrainOptions
from moat_det.errors import UserError
from moat_det.options import option
from moat_det.paths import is_yaml

WORKERS = "one per core up to 8 with a GPU, none on a CPU"


@dataclass(frozen=True)
class ModelChoice:
    """Which model a training begins with."""

    backbone: str | None = option(None, f"backbone by name, e.g. {DEFAULT_BACKBONE}, in the detector of that name")


@dataclass(frozen=True)
class Processes:
    """Who starts the processes of a training."""

    ray: int | None = option(
        None, "in N processes that Ray Train places, and starts again from the last checkpoint", metavar="N"
    )

    def __post_init__(self) -> None:
        """Check the value."""
        if self.ray is not None and self.ray < 1:
            raise UserError(f"--ray {self.ray}: must be 1 process or more")


def new_model(arguments: Arguments) -> MOAT:
    """Build the model that a new training begins with; its arguments are taken out."""
    return MOAT(take_model(arguments) or DEFAULT_BACKBONE)


def take_model(arguments: Arguments) -> str | None:
    """Take the model that was named out of the arguments; None where none was."""
    chosen = arguments.take(ModelChoice).backbone
    return arguments.engine.pop("model", None) or chosen


def _run(arguments: Arguments) -> int:
    processes = arguments.take(Processes).ray
    if processes is None:
        return in_processes("train", arguments, lambda: _train(arguments))
    from moat_det.engine.ray_training import train

    train(partial(_train, arguments), arguments.engine.get("device"), processes)
    return 0


def _train(arguments: Arguments, **callbacks: Callable[[Any], None]) -> None:
    resume = arguments.engine.get("resume")
    if not resume:
        model = new_model(arguments)
    else:
        chosen = take_model(arguments)
        model = MOAT(resume if isinstance(resume, str) else DEFAULT_BACKBONE)
        if chosen:
            arguments.engine["model"] = chosen  # which is compared with the run's own
    for event, callback in callbacks.items():
        model.add_callback(event, callback)
    model.train(**arguments.engine, **arguments.own)


def _check(given: Mapping[str, Any]) -> None:
    model = given.get("model")
    if model and given.get("backbone"):
        raise UserError("--model and --backbone exclude each other: a model YAML names its own backbone")
    if model and not is_timm(model) and Path(model).suffix and not is_yaml(model):
        raise UserError(f"--model {model}: must be a model YAML; for a checkpoint use --weights {model}")
    if not any(given.get(name) for name in ("data", "resume", "cfg")):
        raise UserError("moat train needs --data: --data defects.yaml, or --data demo for a first look")
    if given.get("ray") is not None:
        _check_ray(given.get("device"))


def _check_ray(device: Any) -> None:
    if (names := named_devices(device)) not in ([], ["cpu"]):
        raise UserError(
            f"--device {','.join(names)}: with --ray each process takes a GPU of Ray's; leave it out, or say cpu"
        )
    if is_launched():
        raise UserError("--ray: these processes are started by torchrun already; leave one of the two out")


ENGINE = EngineHelp(
    main={
        "data": DATA,
        "device": DEVICE,
        "model": "model YAML of your own, or the name of one of ours (tiny_moat0-p2), instead of --backbone",
        "resume": "go on with the last run, or with that of the last.pt given",
        "imgsz": "longer side of the images in pixels, or height and width, or auto: the median shape of the data",
        "rect": "give each batch the shape of its images instead of a square",
        "copy_paste": "how often an image gets a defect that is cut out of another",
    },
    general="epochs imgsz batch workers seed classes project name exist_ok verbose",
    sections=("Train", "Val/Test", "Hyperparameters", "Custom config.yaml"),
    defaults={"nbs": "that of --batch", "workers": WORKERS, **training_defaults()},
)

COMMAND = Command(
    name="train",
    run=_run,
    check=_check,
    options=(ModelChoice, Processes, TrainOptions),
    usage="--data DATA [--backbone tiny_moat2] [--imgsz 640 --epochs 100 --device 0 ...]",
    examples=(
        "train --data demo --epochs 20",
        "train --data defects.yaml --backbone tiny_moat2 --imgsz 1024 --device 0",
        "train --data coils.yaml --imgsz 256 2048",
        "train --data defects.yaml --batch 32 --device 0,1 --sync-bn",
        "train --data defects.yaml --batch 64 --ray 8",
        "train --resume runs/train/weights/last.pt",
    ),
    engine=ENGINE,
)
