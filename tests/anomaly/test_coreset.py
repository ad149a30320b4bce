"""A few features stand for many: none is far from all of them."""

from __future__ import annotations

import torch

from moat_det.anomaly.coreset import choose_coreset


def test_the_rare_is_kept_and_the_frequent_is_thinned() -> None:
    generator = torch.Generator().manual_seed(0)
    frequent = torch.randn(500, 8, generator=generator) * 0.01
    rare = torch.eye(8)[:3] * 5
    features = torch.cat([frequent, rare])
    chosen = choose_coreset(features, 6)
    assert {500, 501, 502} <= set(chosen.tolist())
    assert torch.cdist(features, features[chosen]).min(1).values.max() < 0.1


def test_the_seed_decides_and_nothing_is_chosen_twice() -> None:
    features = torch.randn(300, 100, generator=torch.Generator().manual_seed(1))
    chosen = choose_coreset(features, 50, seed=3)
    assert chosen.tolist() == choose_coreset(features, 50, seed=3).tolist()
    assert chosen.tolist() != choose_coreset(features, 50, seed=4).tolist()
    assert len(set(chosen.tolist())) == 50
    assert len(set(choose_coreset(torch.ones(20, 4), 10).tolist())) == 10


def test_of_no_more_than_are_wanted_all_are() -> None:
    assert choose_coreset(torch.randn(5, 3), 5).tolist() == [0, 1, 2, 3, 4]
