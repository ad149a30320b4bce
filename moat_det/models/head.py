"""The anchor-free head: the engine's `Detect`, with float32 outputs and a class prior that follows the image size."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.head import Detect


class Head(Detect):
    """Box distributions (DFL) and class scores for every anchor point of P3, P4 and P5."""

    def forward_head(
        self, x: list[Tensor], box_head: nn.Module | None = None, cls_head: nn.Module | None = None
    ) -> dict[str, Tensor | list[Tensor]]:
        """Run the convolutions in the format of `x` and return float32.

        Decoding and the losses are sums over bins and coordinates, where bfloat16 would cost pixels.

        Args:
            x: P3, P4, P5: (B, C_i, H_i, W_i).
            box_head: The convolutions of the box distributions, one a level.
            cls_head: The convolutions of the class scores, one a level.

        Returns:
            `boxes` (B, 4 * reg_max, A), `scores` (B, nc, A) before the sigmoid, both float32; `feats`, the shapes of
            the levels as float32 tensors without storage of their own (the engine makes anchor points from them).
        """
        reduced = x[0].dtype in {torch.bfloat16, torch.float16}
        with torch.autocast(x[0].device.type, dtype=x[0].dtype if reduced else None, enabled=reduced):
            raw = super().forward_head(x, box_head, cls_head)
        boxes, scores = raw["boxes"].float(), raw["scores"].float()
        feats = [boxes.new_zeros(()).expand(level.shape) for level in x]
        return {"boxes": boxes, "scores": scores, "feats": feats}

    def bias_init(self, image_size: float = 640.0, objects: float = 5.0) -> None:
        """Start from the scores that `objects` objects in an image of `image_size` pixels a side would have.

        The engine's prior assumes 640 px; at 224 px it starts eight times too low, and the first epochs go into
        raising it.

        Args:
            image_size: Side of a square training image, or the root of its area, in pixels.
            objects: Expected objects in an image, over all classes.
        """
        for level_stride, box, score in zip(self.stride.tolist(), self.cv2, self.cv3, strict=True):
            nn.init.constant_(box[-1].bias, 2.0)
            points = (image_size / level_stride) ** 2
            nn.init.constant_(score[-1].bias, math.log(objects / self.nc / points))
