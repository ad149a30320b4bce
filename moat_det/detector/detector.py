"""The detector: input normalisation, backbone, PAN neck, anchor-free head."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from moat_det.backbones import create_backbone
from moat_det.backbones.base import Backbone
from moat_det.detector.base import BaseDetector
from moat_det.detector.config import DetectorConfig
from moat_det.detector.head import Head
from moat_det.detector.loss import DetectionLoss
from moat_det.detector.neck import PAN
from moat_det.detector.precision import compute_dtype

# ImageNet training keeps BN statistics over hundreds of thousands of steps (momentum 0.01); a detector on a small set
# takes a few hundred, after which such statistics would still be mostly their initial values.
BN_MOMENTUM = 0.03


class InputNormalization(nn.Module):
    """(x - mean) / std for RGB in [0, 1], the model's first step so that exports carry it.

    Args:
        mean: Per channel, in [0, 1].
        std: Per channel, in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x` (B, C, H, W): RGB as uint8 in [0, 255], or floating in [0, 1].

        Beside the result no copy of the image is made.
        """
        if x.dtype == torch.uint8:
            return x.to(self.mean.dtype).sub_(self.mean * 255).div_(self.std * 255)
        return (x - self.mean).div_(self.std)


class Detector(BaseDetector):
    """A backbone with a YOLO's neck and head.

    To the engine it is one of its detection models: `model[-1]` is the head; `loss`, `predict`, `fuse` work.

    Attributes:
        yaml: The configuration as plain types, and `nc` and `channels`.
        dtype: See `precision.compute_dtype`; what comes out is float32.
        assigner: Which anchor points learn an object.

    Args:
        config: What shapes the model.
        nc: Number of classes.
        names: Class index -> name; numbers when not given.
        channels: Bands of the images.
    """

    engine_recipe = False

    def __init__(self, config: DetectorConfig, nc: int, names: dict[int, str] | None = None, channels: int = 3) -> None:
        nn.Module.__init__(self)  # the engine's own __init__ would parse its YAML format
        backbone = create_backbone(**config.backbone, in_channels=channels)
        backbone.init_weights()
        neck = PAN(backbone.feature_info, config.neck.levels, config.neck.channels, config.neck.depth)
        strides = [2**level for level in config.neck.levels]
        head = Head(nc, config.neck.channels, strides, config.head.reg_max, config.head.reach)
        self.model = nn.Sequential(
            OrderedDict(
                normalize=InputNormalization(backbone.mean, backbone.std), backbone=backbone, neck=neck, head=head
            )
        )
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = BN_MOMENTUM
        for module in self.model[2:].modules():  # the backbone's is that of its pre-training
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 1e-3
        self.stride = head.stride
        self.assigner = config.assigner
        self.yaml = {**config.to_dict(), "nc": nc, "channels": channels}
        self.names = names or {i: str(i) for i in range(nc)}
        self.nc = nc
        self.task = "detect"
        self.args: Any = {}

    @property
    def backbone(self) -> Backbone:
        """The feature extractor."""
        backbone = self.model[1]
        assert isinstance(backbone, Backbone)
        return backbone

    @property
    def neck(self) -> PAN:
        """What mixes the maps."""
        neck = self.model[2]
        assert isinstance(neck, PAN)
        return neck

    @property
    def head(self) -> Head:
        """The detection head, the last module."""
        head = self.model[-1]
        assert isinstance(head, Head)
        return head

    @property
    def leaves_maps_out(self) -> bool:
        """Whether the neck ends at a finer map than the backbone."""
        return max(self.backbone.strides.values()) > int(self.stride.max())

    @property
    def first_kernel(self) -> str:
        """Name of the kernel that takes the image."""
        return f"model.backbone.{self.backbone.first_conv}.weight"

    def describe(self) -> str:
        """Say which backbone it stands on."""
        return f"detector on {self.yaml['backbone'].get('name')}"

    def initialize_prior(self, image_size: Sequence[float], objects: Sequence[float] | None = None) -> None:
        """Start from the scores that say nothing about an image yet; see `Head.bias_init`."""
        self.head.bias_init(image_size, 5.0 if objects is None else objects)

    def prepare(self, device: torch.device, mixed: bool = True, training: bool = False) -> None:
        """Take the number format that `device` computes in fastest, and channels_last; the weights stay float32.

        In channels_last neither convolutions nor attention reorder their input.
        """
        self.dtype = compute_dtype(device, mixed, training)
        self.to(memory_format=torch.channels_last)

    def init_criterion(self) -> DetectionLoss:
        """Give the losses of training and of validation during it."""
        return DetectionLoss(self)

    def _predict_once(self, x: Tensor, profile: bool = False, embed: list[int] | None = None) -> Any:
        """Detect in `x` (B, C, H, W): RGB or other bands in [0, 1], or uint8; H and W multiples of the largest stride.

        Returns:
            In training the head's raw float32 outputs; otherwise (B, 4 + nc, A) boxes (xywh, pixels) and scores in
            [0, 1], and the raw outputs with them.
        """
        normalize, backbone, neck, head = self.model
        x = normalize(x.contiguous(memory_format=torch.channels_last))
        reduced = self.dtype != torch.float32 and x.dtype == torch.float32
        with torch.autocast(x.device.type, dtype=self.dtype if reduced else None, enabled=reduced):
            levels = neck(backbone(x))
        return head(levels)

    def is_fused(self) -> bool:
        """Whether the norms are folded: those of neck and head all fold, of a backbone's not each may."""
        return not any(isinstance(module, nn.BatchNorm2d) for module in self.model[2:].modules())

    def fuse(self, verbose: bool = True, imgsz: int = 640) -> Detector:
        """Fold the batch norms into the convolutions, in place: for a copy that is used for inference alone.

        Args:
            verbose: Log a summary of the model.
            imgsz: Image size of the operations that the summary counts.

        Returns:
            The model, which can no longer be trained.
        """
        if not self.is_fused():
            self.backbone.fold()
            self.neck.fold()
            super().fuse(verbose, imgsz)  # the norms in the engine's own blocks
            self.requires_grad_(False)
        return self
