"""`moat backbones`."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch

from moat_det.cli.command import Arguments, Command
from moat_det.errors import UserError
from moat_det.options import option

_ROW = "{:<34} {:>10}  {:<14} {}"


@dataclass(frozen=True)
class BackboneChoice:
    """Which backbones to list."""

    filter: str | None = option(
        None,
        "a pattern of the shell's, such as 'timm/*vit*' (default: those that have a configuration here)",
        metavar="PATTERN",
    )


def _run(arguments: Arguments) -> None:
    from moat_det.backbones.describe import describe
    from moat_det.backbones.timm.names import INSTALL, is_installed, is_timm, list_timm
    from moat_det.detector.build import find_config
    from moat_det.detector.config import config_names
    from moat_det.progress import progress

    pattern = arguments.take(BackboneChoice).filter
    named = {name: find_config(name)["backbone"]["name"] for name in config_names()}
    known = {**named, **{name: name for name in list_timm()}}
    names = list(named) if pattern is None else [name for name in known if fnmatch(name, pattern)]
    if not names and not is_installed():
        raise UserError(f"--filter {pattern}: no backbone is called so without timm, which is not installed: {INSTALL}")
    if not names:
        raise UserError(f"--filter {pattern}: no backbone is called so; try '*{(pattern or '').strip('*')}*'")
    lacking = [] if is_installed() else [name for name in names if is_timm(known[name])]
    print(_ROW.format("name", "parameters", "strides", "licence of the released weights"))
    unfit = 0
    for name in progress([name for name in names if name not in lacking], "building", unit="models", leave=False):
        try:
            found = describe(known[name])
        except UserError:
            unfit += 1
        else:
            strides = " ".join(map(str, found.strides))
            print(_ROW.format(name, f"{found.parameters / 1e6:.2f} M", strides, found.licence), flush=True)
    if unfit:
        print(f"{unfit} more cannot be a detector's: they lack the strides 8, 16, 32, or take one size alone")
    if lacking:
        print(f"{', '.join(lacking)} need timm: {INSTALL}")
    elif pattern is None:
        print(f"and {len(known) - len(named)} of timm's, most of which can be one: moat backbones --filter 'timm/*'")


COMMAND = Command(
    name="backbones",
    run=_run,
    options=(BackboneChoice,),
    about="Ours and those of timm. Parameters are without a head; weights are not fetched.",
    examples=("backbones", "backbones --filter 'timm/*coatnet*'"),
)
