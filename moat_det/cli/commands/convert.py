"""`moat convert`."""

from __future__ import annotations

from dataclasses import dataclass

from moat_det.cli.command import Arguments, Command
from moat_det.cli.shared import Grouping
from moat_det.errors import UserError
from moat_det.options import option


@dataclass(frozen=True)
class ConversionOptions:
    """The dataset to convert, and how."""

    from_: str = option(..., "the format it has", takes="voc | coco | yolo")
    to: str = option(..., "the format to write", takes="coco | yolo")
    source: str = option(..., "dataset YAML, COCO JSON, folder of VOC XML, or of YOLO images", metavar="PATH")
    out: str = option(..., "folder to make; not there yet, or empty", metavar="FOLDER")
    names: list[str] | None = option(None, "the classes in their order; a YAML or JSON has them", metavar="NAME ...")
    images: str | None = option(None, "where the images of a JSON or of XML files are", metavar="FOLDER")
    split: float | None = option(None, "share of the images that becomes train, e.g. 0.8", metavar="SHARE")
    seed: int = option(0, "another seed splits otherwise")


def _run(arguments: Arguments) -> None:
    from moat_det.data.convert import convert

    options, group = arguments.take(ConversionOptions), arguments.take(Grouping).group
    if options.split is None and group is not None:
        raise UserError("--group needs --split, the share of the images that becomes train")
    data = convert(
        options.source,
        options.from_,
        options.to,
        options.out,
        names=options.names,
        images=options.images,
        train_share=options.split,
        group=group,
        seed=options.seed,
    )
    print(data)


COMMAND = Command(
    name="convert",
    run=_run,
    options=(ConversionOptions, Grouping),
    about="Images are copied, the source stays as it is.",
    examples=("convert --from voc --to coco --source xml/ --images jpg/ --split 0.8 --out new",),
)
