"""`moat demo`."""

from __future__ import annotations

from dataclasses import dataclass

from moat_det.cli.command import Arguments, Command
from moat_det.errors import UserError
from moat_det.options import option


@dataclass(frozen=True)
class DemoOptions:
    """The demo set to draw."""

    out: str | None = option(None, "folder to make (default: that of the built-in set, in the cache)", metavar="FOLDER")
    train: int = option(240, "training images")
    val: int = option(80, "validation images")
    size: list[int] = option([224, 224], "height and width in pixels", metavar="H W")
    seed: int = option(0, "another seed draws other parts")
    defect_scale: float = option(1.0, "factor on the defects' size")


def _run(arguments: Arguments) -> None:
    from moat_det.demo import demo_dataset, generate_demo

    options = arguments.take(DemoOptions)
    if options.out is None:
        if options != DemoOptions():
            raise UserError("the built-in demo set is always the same: name a folder for another one with --out")
        print(demo_dataset())
        return
    if len(options.size) != 2:
        raise UserError(f"--size {' '.join(map(str, options.size))}: give height and width, such as 224 224")
    size = options.size[0], options.size[1]
    print(generate_demo(options.out, options.train, options.val, size, options.seed, options.defect_scale))


COMMAND = Command(
    name="demo",
    run=_run,
    options=(DemoOptions,),
    examples=("demo", "demo --out demo", "demo --out demo --size 448 448 --defect-scale 0.5"),
)
