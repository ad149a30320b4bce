"""What turns files into the weights of a backbone: official TensorFlow checkpoints, .safetensors, .pt.

`find` turns what a user calls the weights into a file, with `releases` (what there is), `download` and `checksum`;
`files` opens it, with `layout` for TensorFlow's names; `load` fits it into a backbone and makes the `report`; `convert`
writes our own format.
"""

from __future__ import annotations

from pathlib import Path

from moat_det.backbones.base import Backbone
from moat_det.backbones.moat.backbone import MOATBackbone
from moat_det.backbones.timm.names import is_timm
from moat_det.backbones.weights.files import open_weights
from moat_det.backbones.weights.find import find_path, find_weights
from moat_det.backbones.weights.identify import variant_name
from moat_det.backbones.weights.load import load
from moat_det.backbones.weights.releases import RELEASED, Release, release_name
from moat_det.backbones.weights.report import LoadReport
from moat_det.errors import UserError

__all__ = ["RELEASED", "LoadReport", "Release", "load_pretrained"]


def load_pretrained(backbone: Backbone, source: str | Path, *, by_order: bool = False) -> LoadReport:
    """Load weights into a backbone.

    Args:
        backbone: Filled in place, on its device and in its number format.
        source: "imagenet" for the released checkpoint of the backbone's variant, with or without position
            embedding as the backbone is; the name of a released one (`RELEASED`); or a path: a .safetensors
            file, a .pt file with a backbone's state dict or a detector of ours, or an official checkpoint
            (folder, prefix, `.index` or `.tar.gz`). A released one that is not in `weights_dir()` is downloaded.
            For a backbone of timm's: "imagenet" for timm's own file, which lies in `weights_dir()` or in timm's cache
            and is not downloaded; or a path, .safetensors, .pt or .pth, by the names that `load_timm` knows.
        by_order: Pair the tensors by their order instead of their names; for backbones of timm's.

    Returns:
        What was loaded, dropped, and left as it was.

    Raises:
        UserError: There are no such weights, they are damaged, or they do not fit (see `load.load`).
    """
    if not isinstance(backbone, MOATBackbone):
        return _load_foreign(backbone, source, by_order)
    if by_order:
        raise UserError("--weights-by-order: is for backbones of timm's; MOAT's weights have names")
    if str(source) == "imagenet":
        source = _release_of(backbone)
    with open_weights(find_weights(source)) as file:
        return load(backbone, file)


def _load_foreign(backbone: Backbone, source: str | Path, by_order: bool) -> LoadReport:
    if not is_timm(getattr(backbone, "name", None)):
        raise UserError(f"{source}: there are no weights to read for a {type(backbone).__name__}")
    from moat_det.backbones.timm.backbone import TimmBackbone
    from moat_det.backbones.timm.weights import find_timm_weights, load_timm

    assert isinstance(backbone, TimmBackbone)
    path = find_timm_weights(backbone) if str(source) == "imagenet" else find_path(source)
    with open_weights(path) as file:
        return load_timm(backbone, file, by_order=by_order)


def _release_of(backbone: MOATBackbone) -> str:
    variant = variant_name(backbone.variant)
    if variant is None:
        raise UserError("no weights were released for this backbone's widths and depths: give a path")
    tables = any(name.endswith("relative_position_embedding") for name in backbone.state_dict())
    return release_name(variant, tables)
