"""Multiply-adds against torch's own counter, the official table and TensorFlow's profiler."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from moat_det.backbones import VARIANTS, create_backbone
from moat_det.backbones.moat.flops import count_multiply_adds

# Of the official model with a head of 1000 classes at its native size, in billions: convolutions and matrix products
# counted by hand, and half of what TensorFlow's profiler counts for an image in a batch of 8.
OFFICIAL_MODEL = [
    ("tiny_moat0", True, 1.041, 1.091),
    ("tiny_moat2", True, 2.975, 3.063),
    ("moat0", True, 5.638, 5.744),
    ("moat2", True, 53.283, 54.442),
    ("moat2", False, 53.283, 53.927),
]


@pytest.mark.parametrize(("name", "position_embedding", "products", "profiler"), OFFICIAL_MODEL)
def test_classifiers(name: str, position_embedding: bool, products: float, profiler: float) -> None:
    with torch.device("meta"):
        model = create_backbone(name, num_classes=1000, position_embedding=position_embedding)
    work = count_multiply_adds(model, VARIANTS[name].native, VARIANTS[name].native)
    assert work.products / 1e9 == pytest.approx(products, abs=6e-4)
    assert work.official / 1e9 == pytest.approx(profiler, rel=2e-3)
    assert (work.once_per_batch > 0) == position_embedding


@pytest.mark.parametrize("window", ["full", [None, None, (14, 14), None]])
def test_products_are_those_that_torch_counts(window: object) -> None:
    """On a map that the windows do not fill, too."""
    with torch.device("meta"):
        backbone = create_backbone("tiny_moat0", window=window).eval()
        with FlopCounterMode(display=False) as counter:  # with gradients: without, a kernel has a border of zeros
            backbone(torch.empty(1, 3, 256, 271))
    work = count_multiply_adds(backbone, 256, 271)
    assert work.products == counter.get_total_flops() / 2


def test_counting_leaves_no_trace() -> None:
    backbone = create_backbone("tiny_moat0")
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    first = count_multiply_adds(backbone, 64, 64)
    assert backbone.training
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert count_multiply_adds(backbone, 64, 64) == first
