"""Our own options of a training, apart from the engine's arguments."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from moat_det.backbones.windows import WINDOW, WindowSpec
from moat_det.data.sizes.shape import Shape
from moat_det.engine.loggers import NAMES, check_loggers
from moat_det.errors import UserError
from moat_det.files import atomic_write_text
from moat_det.options import option
from moat_det.values import is_count


@dataclass(frozen=True)
class TrainOptions:
    """Our own options of a training; the engine's `args` refuse keys that it does not know.

    Attributes:
        config: The model's configuration, as `build_model` takes it.
        weights: What to start from (see `fine_tuning.load_weights`), or None.
        weights_by_order: Pair the tensors of a file with those of a backbone of timm's by their order.
        nbs_follows_batch: Step the optimizer after every batch. The engine's nominal batch of 64 leaves two steps an
            epoch on a hundred images.
        freeze_backbone: Epochs at the start in which the backbone is held still.
        layer_decay: Factor on the learning rate for each layer of the backbone on the way from the neck to the stem;
            1 is off.
        drop_path: The rate of dropped branches that was given instead of the configuration's, which has it by now.
        window: The attention windows that were given instead of the configuration's, which has them by now.
        shape: Height and width of every image in pixels, multiples of the model's stride; None for squares of the
            engine's `imgsz`, or rectangles with its `rect`.
        augmentation: What training does to images, as `moat_det.data.augment.Preset.to_dict` gives it; None for the
            engine's augmentations alone.
        mixed: Compute in 16 bits where the device does so in hardware. The engine's own mixed precision is float16,
            with a downloaded model as its test, and stays off; ours lives in the detector.
        choose_format: Measure at the start whether a CPU trains the model faster in 16 bits; in float32 where not.
        sync_bn: Take the batch norms' statistics of the whole batch where several processes share it.
        save_minutes: Also write `last.pt` amid an epoch, where it is older than so many minutes; 0 is off.
        log: Loggers by name (see `engine.loggers`).
        progressive: The share of height and width that images have in the first epoch, in (0, 1]; it grows to the whole
            by the middle of the training (see `progressive_shape`).
        ema: Decay of the average of the weights, in [0, 1); 0 is off.
        ema_tau: Steps over which the decay rises to `ema`, above 0: after as many it is at 63 % of it.
        good_parts: The share of images without objects in an epoch, in [0, 1); None for that of the data, at most a
            half (see `GoodParts`).
        rare_classes: The share of the images with objects below which a class is rare, in [0, 1]: images that have it
            come more than once in an epoch (see `repeat_factors`). 0 is off.

    Raises:
        UserError: A value is out of its range.
    """

    config: dict[str, Any]
    weights: str | None = option(
        None,
        "start from imagenet (downloaded once), a best.pt, or a file of backbone weights (.safetensors, .pt, .pth, an "
        "official TensorFlow checkpoint or its .tar.gz)",
    )
    weights_by_order: bool = option(False, "fill a backbone of timm's by the order of the file's tensors, not by names")
    nbs_follows_batch: bool = False
    freeze_backbone: int = option(0, "hold the backbone still for this many epochs at the start")
    layer_decay: float = option(
        1.0, "factor on the learning rate for each backbone layer from neck to stem, e.g. 0.9; 1 is off"
    )
    drop_path: float | None = option(
        None, "rate of dropped branches at the backbone's end, 0 to below 1 (default: the backbone's own)"
    )
    window: WindowSpec | None = option(None, WINDOW, takes="str")
    shape: Shape | None = None
    augmentation: dict[str, Any] | None = option(
        None, "what is done to training images: none, light, surface, board, or a YAML", takes="str"
    )
    mixed: bool = True
    choose_format: bool = False
    sync_bn: bool = option(False, "take batch statistics of the images of all processes, where several train")
    save_minutes: float = option(
        15.0, "also write last.pt amid an epoch, where it is older than so many minutes; 0 is off"
    )
    log: list[str] = option(
        [],
        f"loggers that get the figures of each epoch: {', '.join(NAMES)} (results.csv is always written; nothing is "
        "sent anywhere unless your environment says so)",
        metavar="NAME ...",
    )
    progressive: float = option(
        1.0, "share of --imgsz that images have at the beginning, growing to the whole by half of the epochs; 1 is off"
    )
    ema: float = option(0.9999, "decay of the average of the weights that is measured and saved; 0 is off")
    ema_tau: float = option(2000.0, "steps over which that decay rises: after as many it is at 63 % of --ema")
    good_parts: float | None = option(
        None, "share of good parts, images without a box, in an epoch, 0 to below 1 (default: the data's, at most 0.5)"
    )
    rare_classes: float = option(
        0.0, "repeat images of classes that fewer than this share of the images with boxes has, 0 to 1; 0 is off"
    )

    def __post_init__(self) -> None:
        """Check the values."""
        if self.good_parts is not None and not 0 <= self.good_parts < 1:
            raise UserError(f"--good-parts {self.good_parts}: must be a share, from 0 to below 1")
        if not isinstance(self.rare_classes, (int, float)) or not 0 <= self.rare_classes <= 1:
            raise UserError(f"--rare-classes {self.rare_classes}: must be a share, from 0 (off) to 1")
        if not isinstance(self.progressive, (int, float)) or not 0 < self.progressive <= 1:
            raise UserError(f"--progressive {self.progressive}: must be a share, above 0 and at most 1, which is off")
        if not isinstance(self.ema, (int, float)) or not 0 <= self.ema < 1:
            raise UserError(f"--ema {self.ema}: must be a decay, from 0 (off) to below 1")
        if not isinstance(self.ema_tau, (int, float)) or not 0 < self.ema_tau < math.inf:
            raise UserError(f"--ema-tau {self.ema_tau}: must be a number of steps above 0")
        if self.drop_path is not None and not 0 <= self.drop_path < 1:
            raise UserError(f"--drop-path {self.drop_path}: must be a rate, from 0 to below 1")
        if not is_count(self.freeze_backbone, 0):
            raise UserError(f"--freeze-backbone {self.freeze_backbone}: must be a number of epochs, 0 or more")
        if not isinstance(self.layer_decay, (int, float)) or not 0 < self.layer_decay <= 1:
            raise UserError(f"--layer-decay {self.layer_decay}: must be over 0 and at most 1, which is off")
        if not isinstance(self.save_minutes, (int, float)) or not 0 <= self.save_minutes < math.inf:
            raise UserError(f"--save-minutes {self.save_minutes}: must be minutes, 0 (off) or more")
        check_loggers(self.log)

    def save(self, path: Path) -> None:
        """Write to `path` as YAML, beside the engine's `args.yaml`."""
        atomic_write_text(path, yaml.safe_dump(asdict(self), sort_keys=False))

    def to_resume(self) -> dict[str, Any]:
        """Give what a checkpoint keeps: all but the configuration and `mixed`, which it has places of its own for."""
        return {name: value for name, value in asdict(self).items() if name not in {"config", "mixed"}}
