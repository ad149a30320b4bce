"""Mix-up and cut-mix, and what every step that takes other images beside the one at hand has in common."""

from __future__ import annotations

from typing import Any

from ultralytics.data.augment import BaseMixTransform
from ultralytics.data.augment import CutMix as EngineCutMix
from ultralytics.data.augment import MixUp as EngineMixUp

from moat_det.data.images.gray import spread
from moat_det.data.images.resize import resize
from moat_det.data.sizes.shape import shrink_within


class Partners(BaseMixTransform):
    """The base of the engine's mixing steps, whose partners take the shape of the sample that they come into."""

    def get_indexes(self) -> int | list[int]:
        """Draw the partner."""
        index: int = self.dataset.partner()
        return index

    def get_params(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Give the partners as `mix_labels`, after `pre_transform`."""
        indexes = self.get_indexes()
        partners = [self.dataset.get_image_and_label(i) for i in ([indexes] if isinstance(indexes, int) else indexes)]
        shape = labels["rect_shape"]
        for partner in partners:
            partner["rect_shape"] = shape
            partner["img"] = resize(partner["img"], *shrink_within(partner["img"].shape, shape))
        if self.pre_transform is not None:
            partners = [self.pre_transform(partner) for partner in partners]
        labels["mix_labels"] = partners
        return {"mix_labels": partners}


class MixUp(EngineMixUp, Partners):
    """Lays another sample over this one.

    Source: mixup (Zhang et al., 2018), with the weights and the boxes of both as in YOLOX (Ge et al., 2021).
    """


class CutMix(EngineCutMix, Partners):
    """Puts a rectangle of another sample, and its boxes there, at the same place of this one.

    Source: CutMix (Yun et al., 2019).
    """

    def apply_image(self, labels: dict[str, Any], params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Copy the rectangle; gray beside colour becomes colour."""
        both = [labels, *labels["mix_labels"]]
        bands = max(each["img"].shape[2] for each in both)
        for each in both:
            each["img"] = spread(each["img"], bands)
        return super().apply_image(labels, params)
