"""The pass of a detector that is measured: of ours, or of the engine's to compare with, with random weights.

All start from the same uint8 images, which lie on the device. Detection ends with decoded boxes and scores, before
their suppression: random weights find nothing to suppress.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from ultralytics.cfg import get_cfg

from moat_det.backbones.windows import read_window
from moat_det.benchmark.cases import NONE, DetectorCase, config_name, parse_size
from moat_det.detector.base import BaseDetector, as_numbers
from moat_det.detector.build import build_model, find_config, with_window

OBJECTS = 20
"""In each training image: what the loss costs depends on them."""


def detector_pass(case: DetectorCase) -> Callable[[], object]:
    """Set up everything, and return a function that runs the pass."""
    model = build(case)
    images = random_images(case).to(case.device)
    if case.mode == "train":
        return _training_step(model, images, case.classes)

    def forward() -> object:
        with torch.inference_mode():
            return model(images)

    return forward


def build(case: DetectorCase) -> BaseDetector:
    """Give the model with random weights, ready for the pass."""
    torch.manual_seed(0)
    config = find_config(config_name(case.model))
    if case.window != NONE:
        config = with_window(config, read_window(case.window))
    if case.recompute == "yes":
        config["backbone"]["checkpoint_attention"] = True
    model = build_model(config, case.classes, channels=case.channels)
    model.train(case.mode == "train")
    if case.norms == "folded":
        model.fuse(verbose=False)
    model.dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[case.dtype]
    return model.to(case.device, memory_format=torch.channels_last)  # as the engine does, too


def random_images(case: DetectorCase) -> Tensor:
    """Make the noise of a pass, uint8 (B, C, H, W) in channels_last, as a decoded image lies in memory."""
    shape = (case.batch, *parse_size(case.imgsz), case.channels)
    return torch.randint(0, 256, shape, dtype=torch.uint8).permute(0, 3, 1, 2)


def _training_step(model: BaseDetector, images: Tensor, classes: int) -> Callable[[], object]:
    model.args = get_cfg()  # the gains of the losses
    optimizer = torch.optim.AdamW(model.parameters())
    objects = {name: tensor.to(images.device) for name, tensor in _objects(len(images), classes).items()}

    def step() -> None:
        loss, _ = model({"img": as_numbers(images), **objects})
        loss.sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _objects(images: int, classes: int) -> dict[str, Tensor]:
    """Make boxes of a twentieth to a fifth of the image's side, in the form of the engine's loss."""
    count = images * OBJECTS
    return {
        "batch_idx": torch.arange(images).repeat_interleave(OBJECTS).float(),
        "cls": torch.randint(0, classes, (count, 1)).float(),
        "bboxes": torch.cat((torch.empty(count, 2).uniform_(0.2, 0.8), torch.empty(count, 2).uniform_(0.05, 0.2)), 1),
    }
