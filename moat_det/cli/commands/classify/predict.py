"""`moat classify predict`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from moat_det.backbones.weights import RELEASED
from moat_det.cli.command import Arguments, Command
from moat_det.errors import UserError
from moat_det.options import option


@dataclass(frozen=True)
class ClassificationOptions:
    """The classifier, and what it looks at."""

    weights: str = option(
        ...,
        "best.pt of a classifier, another file, the name of a released checkpoint, or imagenet",
        metavar="PATH|NAME|imagenet",
    )
    source: str = option(..., "a picture, a folder, a pattern or a list (.txt)", metavar="PATH")
    backbone: str | None = option(None, "the variant, for --weights imagenet", metavar="NAME")
    top: int = option(5, "classes for a picture", metavar="N")
    device: str | None = option(None, "cpu, or the number of a GPU (default: the first GPU, if there is one)")
    save_json: Path | None = option(None, "write the results there too", metavar="FILE")


def _run(arguments: Arguments) -> None:
    from moat_det.detection.source_files import list_pictures
    from moat_det.engine.device import choose_one_device
    from moat_det.files import atomic_write_json
    from moat_det.pretraining.classification.predict import classify
    from moat_det.pretraining.classification.trained import load_classifier

    options = arguments.take(ClassificationOptions)
    if options.top < 1:
        raise UserError(f"--top {options.top}: give 1 or more")
    device = choose_one_device(options.device)
    paths = list_pictures(options.source)
    results = classify(load_classifier(options.weights, options.backbone), paths, options.top, device)
    if options.save_json:
        atomic_write_json(options.save_json, results, indent=2)


COMMAND = Command(
    name="classify predict",
    run=_run,
    options=(ClassificationOptions,),
    about="A line for each picture, the likeliest classes first. A classifier of your own sees pictures as in its "
    "training. For a released one a picture's middle, a square of 7/8 of its shorter side, is scaled to the size of "
    "the pre-training, and classes have ImageNet's names where there are 1000 of them, else they are numbers from 0. "
    f"Released checkpoints: {', '.join(RELEASED)}.",
    examples=("classify predict --weights imagenet --backbone moat0 --source images/",),
)
