"""Backbones: MOAT in pure torch, and those of timm; usable without the detector."""

from __future__ import annotations

from moat_det.backbones.create import create_backbone, list_backbones
from moat_det.backbones.moat.backbone import MOATBackbone
from moat_det.backbones.moat.overrides import find_variant
from moat_det.backbones.moat.variants import VARIANTS, Variant

__all__ = ["VARIANTS", "MOATBackbone", "Variant", "create_backbone", "find_variant", "list_backbones"]
