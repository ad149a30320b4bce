"""What training, validation and detection ask of a model, ours or one of the engine's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from moat_det.backbones.base import Backbone, Windowed


class BaseDetector(DetectionModel):
    """A model that takes images (B, C, H, W) as uint8, or as floating numbers in [0, 1].

    What is said here holds for a model that is one piece, without a backbone of ours.

    Attributes:
        dtype: The format that `forward` computes in.
        engine_recipe: Whether it is trained as the engine does: defaults, optimizer, nominal batch, batch statistics.
        names: Class index -> name.
        stride: Strides of the head's levels.
        yaml: What it was built from, as plain types.
    """

    yaml: dict[str, Any]
    names: dict[int, str]
    stride: Tensor
    dtype: torch.dtype = torch.float32
    engine_recipe: ClassVar[bool]

    @property
    def backbone(self) -> Backbone | None:
        """The feature extractor."""
        return None

    @property
    def windowed(self) -> Windowed | None:
        """The feature extractor, if it attends within windows."""
        backbone = self.backbone
        return backbone if isinstance(backbone, Windowed) else None

    @property
    def first_kernel(self) -> str | None:
        """Name of the parameter that can be brought to another number of bands."""
        return None

    @property
    def leaves_maps_out(self) -> bool:
        """Whether the last maps of the backbone go nowhere, so that their stages learn nothing."""
        return False

    @property
    def parts(self) -> list[str]:
        """Names below `model.` of the parts before the head: `--freeze N` holds the first N."""
        return [name for name, _ in self.model.named_children()][:-1]

    def describe(self) -> str:
        """Say in a few words what it is."""
        return str(self.yaml.get("yaml_file", "model of the engine"))

    def initialize_prior(self, image_size: Sequence[float], objects: Sequence[float] | None = None) -> None:
        """Start from the scores that say nothing about an image yet.

        Args:
            image_size: Its height and width in pixels.
            objects: Expected objects in it, of each class (nc,), above 0; None for five in all.
        """

    def prepare(self, device: torch.device, mixed: bool = True, training: bool = False) -> None:
        """Take the number format and the memory format that `device` computes in fastest.

        Args:
            device: Where the model will run.
            mixed: False asks for float32.
            training: Whether it will be trained.
        """

    def predict(self, x: Tensor, profile: bool = False, augment: bool = False, embed: list[int] | None = None) -> Any:
        """Detect in `x`; test-time augmentation, the engine's, takes numbers."""
        return super().predict(as_numbers(x) if augment else x, profile, augment, embed)


def as_numbers(images: Tensor) -> Tensor:
    """Turn uint8 images (B, C, H, W) into float32 in [0, 1], as the engine does; numbers stay as they are."""
    return images.contiguous().float().div_(255) if images.dtype == torch.uint8 else images
