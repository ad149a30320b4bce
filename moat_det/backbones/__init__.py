"""The MOAT backbones in pure torch; usable without the detector."""

from __future__ import annotations

from moat_det.backbones.create import create_backbone, list_backbones
from moat_det.backbones.moat.backbone import MOATBackbone
from moat_det.backbones.moat.variants import VARIANTS, Variant

__all__ = ["VARIANTS", "MOATBackbone", "Variant", "create_backbone", "list_backbones"]
