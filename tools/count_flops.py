"""Print the table of docs/weights.md: official figures beside ours, `python -m tools.count_flops`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch

from moat_det.backbones.moat.create import create_moat
from moat_det.backbones.moat.flops import count_multiply_adds
from moat_det.backbones.weights import RELEASED, Release
from moat_det.progress import progress
from tools.command import command, make_parser

HEADER = (
    "| name | input | data | top-1 | parameters: official | ours | FLOPs: official | ours | differ by "
    "| products alone | archive |\n|---|---|---|---|---|---|---|---|---|---|---|"
)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = make_parser(
        "Print every released checkpoint with its official figures and the parameters and multiply-adds that we count "
        "in our model, as Markdown. Nothing is downloaded."
    )
    parser.parse_args(argv)
    rows = [row(release) for release in progress(RELEASED.values(), "counting", leave=False)]
    print("\n".join([HEADER, *rows]))
    return 0


def row(release: Release) -> str:
    """Give a row of the table; counting takes no memory to speak of."""
    with torch.device("meta"):
        model = create_moat(release.variant, position_embedding=release.position_embedding, num_classes=1000)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    work = count_multiply_adds(model, release.size, release.size)
    cells = (
        f"`{release.name}`",
        f"{release.size}",
        release.data,
        f"{release.top1:.1f} %",
        f"{release.params:.1f} M",
        f"{parameters:,}",
        f"{release.flops:.1f} G",
        f"{work.official / 1e9:.3f} G",
        f"{100 * (work.official / 1e9 / release.flops - 1):+.1f} %",
        f"{work.products / 1e9:.3f} G",
        f"`{release.archives[0]}`",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
