"""What timm's models are called here, and whether timm is there."""

from __future__ import annotations

from importlib.util import find_spec

from moat_det.errors import UserError
from moat_det.messages import suggest

PREFIX = "timm/"

INSTALL = "pip install 'moat_det[timm]'"
"""How timm comes here."""


def is_timm(name: object) -> bool:
    """Whether a backbone's name is one of timm's."""
    return isinstance(name, str) and name.startswith(PREFIX)


def model_name(name: str) -> str:
    """Give timm's own name, with its tag if there is one, of a backbone `timm/NAME`.

    Raises:
        UserError: timm is not installed, or has no such model.
    """
    check_installed(name)
    import timm

    bare = name.removeprefix(PREFIX)
    architecture, _, tag = bare.partition(".")
    if not timm.is_model(bare):
        raise UserError(
            f"{name}: timm {timm.__version__} has no such model{suggest(bare, timm.list_models())}; "
            "moat backbones --filter 'timm/*' lists them"
        )
    tags = timm.list_models(f"{architecture}.*", pretrained=True)
    if tag and bare not in tags:
        raise UserError(f"{name}: timm {timm.__version__} has no such weights; there are {', '.join(tags) or 'none'}")
    return bare


def as_timm(word: object) -> str | None:
    """Give the backbone, `timm/NAME`, that a word is but for prefix or capital letters; None if there is none."""
    if not is_installed():
        return None
    import timm

    bare = str(word).lower().removeprefix(PREFIX)
    return PREFIX + bare if timm.is_model(bare) else None


def list_timm() -> list[str]:
    """Give the names of timm's models, `timm/NAME`; none without timm."""
    if not is_installed():
        return []
    import timm

    return [f"{PREFIX}{bare}" for bare in timm.list_models()]


def check_installed(name: str) -> None:
    """Raise `UserError` where a backbone's name is one of timm's, and timm is not there."""
    if is_timm(name) and not is_installed():
        raise UserError(f"{name}: timm is not installed: {INSTALL}")


def is_installed() -> bool:
    """Whether timm is there."""
    return find_spec("timm") is not None
