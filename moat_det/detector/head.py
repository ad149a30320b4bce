"""The anchor-free head: the engine's `Detect` with a longer reach, float32 outputs and a prior for the image's size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.head import Detect

from moat_det.detector.distances import DistanceScale


class Head(Detect):
    """Box distributions (DFL) and class scores for every anchor point of every level.

    Attributes:
        scale: What the bins of a distribution stand for.

    Args:
        nc: Number of classes.
        channels: Channels of each level, the finest first.
        strides: Pixels per cell of each level.
        reg_max: Bins of the distribution of each side.
        reach: Strides that a side can be away from its anchor point; None for `reg_max - 1`.
    """

    def __init__(
        self,
        nc: int,
        channels: Sequence[int],
        strides: Sequence[int],
        reg_max: int = 16,
        reach: float | None = None,
    ) -> None:
        super().__init__(nc, reg_max, ch=tuple(channels))
        self.stride = torch.tensor(strides, dtype=torch.float32, device="cpu")
        self.scale = DistanceScale(reg_max, reach)
        self.bias_init()

    def forward_head(
        self, x: list[Tensor], box_head: nn.Module | None = None, cls_head: nn.Module | None = None
    ) -> dict[str, Tensor | list[Tensor]]:
        """Run the convolutions in the format of `x` and return float32.

        Decoding and the losses are sums over bins and coordinates, where bfloat16 would cost pixels.

        Args:
            x: The levels: (B, C_i, H_i, W_i).
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

    def decode_bboxes(self, bboxes: Tensor, anchors: Tensor, angle: Tensor | None = None) -> Tensor:
        """Make boxes (B, 4, A) in strides; the expected positions among the bins come as (B, 4, A)."""
        return super().decode_bboxes(self.scale.to_strides(bboxes), anchors, angle)

    def bias_init(self, image_size: float | Sequence[float] = 640.0, objects: float | Sequence[float] = 5.0) -> None:
        """Start from the boxes and scores that say nothing about an image yet.

        Each level starts with the scores that `objects` objects would have. The engine's prior assumes 640 px; at
        224 px it starts eight times too low, and the first epochs go into raising it. The distributions start with
        equal bins, as the engine's; wider bins with less, or the first boxes would be as large as the reach and meet
        no object.

        Args:
            image_size: Height and width of a training image, or the side of a square one, in pixels.
            objects: Expected objects in an image, over all classes, or of each class (nc,); above 0.
        """
        height, width = image_size if isinstance(image_size, Sequence) else (image_size, image_size)
        of_class = objects if isinstance(objects, Sequence) else [objects / self.nc] * self.nc
        distribution = (2.0 - self.scale.widths().log()).repeat(4)
        for level_stride, box, score in zip(self.stride.tolist(), self.cv2, self.cv3, strict=True):
            points = height * width / level_stride**2
            with torch.no_grad():
                box[-1].bias.copy_(distribution)
                score[-1].bias.copy_(torch.tensor([math.log(number / points) for number in of_class]))
