"""`moat classify val`."""

from __future__ import annotations

from dataclasses import dataclass

from moat_det.cli.command import Arguments, Command
from moat_det.options import option
from moat_det.pretraining.options import RunPlace, check_range


@dataclass(frozen=True)
class ValidationOptions:
    """The classifier, and the pictures to measure it on.

    Raises:
        UserError: A value is out of its range.
    """

    weights: str = option(..., "best.pt of a classifier, another file, the name of a released checkpoint, or imagenet")
    data: str = option(..., "a folder with val/, or a folder with a folder for each class, or a YAML")
    backbone: str | None = option(None, "the variant, for --weights imagenet", metavar="NAME")
    batch: int = option(64, "pictures of a pass")

    def __post_init__(self) -> None:
        """Check the values."""
        check_range("batch", self.batch, 1, 2**31)


def _run(arguments: Arguments) -> None:
    from moat_det.pretraining.classification.trained import load_classifier
    from moat_det.pretraining.classification.val import validate_classifier

    options, place = arguments.take(ValidationOptions), arguments.take(RunPlace)
    validate_classifier(load_classifier(options.weights, options.backbone), options.data, options.batch, place)


COMMAND = Command(
    name="classify val",
    run=_run,
    options=(ValidationOptions, RunPlace),
    about="Writes metrics.json (top1, top5, recall and precision of each class) and confusion_matrix.png.",
    examples=("classify val --weights runs/classification/weights/best.pt --data parts/",),
)
