"""What a cell looks like: maps of several strides on one grid."""

from __future__ import annotations

import pytest
import torch

from moat_det.anomaly.features import channel_weights, choose_maps, patch_features
from moat_det.backbones.base import FeatureInfo
from moat_det.errors import UserError

INFOS = [FeatureInfo(4, 4, "a"), FeatureInfo(6, 8, "b"), FeatureInfo(8, 16, "c"), FeatureInfo(9, 32, "d")]


def test_maps_are_chosen_by_stride_and_weighed_by_it() -> None:
    assert choose_maps(INFOS) == ["b", "c"]
    assert choose_maps(INFOS[::-1]) == ["b", "c"]
    assert channel_weights(INFOS, ["b", "c"]).tolist() == [1] * 6 + [0.5] * 8
    with pytest.raises(UserError, match=r"strides 8 and 16, this one has \[4, 32\]"):
        choose_maps([INFOS[0], INFOS[3]])


def test_a_coarse_cell_lies_over_its_four_fine_ones() -> None:
    fine, coarse = torch.zeros(2, 6, 8, 12, dtype=torch.bfloat16), torch.zeros(2, 8, 4, 6, dtype=torch.bfloat16)
    coarse[1, 7, 2, 3] = 1
    features = patch_features({"c": coarse, "b": fine, "a": torch.ones(1)}, ["b", "c"])
    assert features.shape == (2, 8, 12, 14)
    assert features.dtype == torch.float32
    assert (features[1, 4:6, 6:8, 13] > 0.5).all()
    assert features[0].abs().sum() == 0
    assert features[1, 4:6, 6:8, 13].sum() > features[1, ..., 13].sum() / 2
