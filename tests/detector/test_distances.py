from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moat_det.detector.distances import DistanceScale


@settings(deadline=None, max_examples=50)
@given(reg_max=st.integers(2, 64), ratio=st.floats(1.01, 5000.0))
def test_bins_reach_as_far_as_asked_and_come_back(reg_max: int, ratio: float) -> None:
    reach = ratio * (reg_max - 1)
    scale = DistanceScale(reg_max, reach)
    bins = torch.linspace(-(reg_max - 1.0), reg_max - 1.0, 201)
    strides = scale.to_strides(bins)
    assert strides[-1].item() == pytest.approx(reach, rel=1e-4)
    assert strides.diff().min() > 0
    assert torch.equal(scale.to_strides(-bins), -strides)
    assert torch.allclose(scale.to_bins(strides), bins, rtol=1e-4, atol=1e-4)


def test_without_a_reach_a_bin_is_a_stride() -> None:
    bins = torch.rand(10) * 15
    assert DistanceScale(16).to_strides(bins) is bins
    assert DistanceScale(16).to_bins(bins) is bins
    assert DistanceScale(16).widths().tolist() == [1.0] * 16


def test_the_widths_are_the_slope_of_the_scale() -> None:
    scale = DistanceScale(16, 256.0)
    bins = torch.arange(16.0, requires_grad=True)
    (slope,) = torch.autograd.grad(scale.to_strides(bins).sum(), bins)
    assert torch.allclose(scale.widths(), slope)
    assert slope[0] == 1


def test_small_boxes_keep_their_resolution() -> None:
    """The sides of a box of 7 strides, the largest at 224 px and stride 32, lie up to 3.5 strides away."""
    assert DistanceScale(16, 256.0).to_bins(torch.tensor(3.5)).item() > 0.8 * 3.5
