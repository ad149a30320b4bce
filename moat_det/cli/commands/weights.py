"""`moat weights`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from moat_det.backbones.weights import RELEASED
from moat_det.backbones.weights.convert import convert
from moat_det.cli.command import Arguments, Command
from moat_det.options import option


@dataclass(frozen=True)
class ConversionOptions:
    """The weights to convert."""

    source: str = option(
        ...,
        "a released checkpoint, downloaded if need be; or an official checkpoint (folder, "
        "prefix, .index, .tar.gz), a .pt (state dict of a backbone, or a detector, whose backbone is taken) or a "
        ".safetensors",
        metavar="NAME_OR_PATH",
        positional=True,
    )
    out: Path = option(..., "file to write, .safetensors", metavar="FILE")
    backbone: str | None = option(None, "the variant, where it is not told by the shapes", metavar="NAME")
    force: bool = option(False, "overwrite FILE")


def _run(arguments: Arguments) -> None:
    options = arguments.take(ConversionOptions)
    report = convert(options.source, options.out, variant=options.backbone, force=options.force)
    print(*report.lines(), f"written to {options.out}", sep="\n")


COMMAND = Command(
    name="weights",
    run=_run,
    options=(ConversionOptions,),
    about=f"What they are is written with them, as metadata. Released checkpoints: {', '.join(RELEASED)}.",
    examples=("weights tiny_moat0 --out tiny_moat0.safetensors", "weights best.pt --out backbone.safetensors"),
)
