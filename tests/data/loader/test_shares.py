"""The shares of several processes: together each batch, once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moat_det.backbones.drop_path import DropPath
from moat_det.data.loader.shares import Shares


@given(images=st.integers(1, 60), batch=st.integers(1, 20), ranks=st.integers(1, 7), drop_last=st.booleans())
def test_shares_are_each_batch_once(images: int, batch: int, ranks: int, drop_last: bool) -> None:
    order = np.random.default_rng(0).permutation(images).tolist()
    shares = [Shares(order, batch, rank, ranks, drop_last) for rank in range(ranks)]
    drawn = [list(share) for share in shares]
    whole = [order[begin : begin + batch] for begin in range(0, images, batch)]
    if drop_last and len(whole) > 1 and len(whole[-1]) < batch:
        whole.pop()
    assert [len(each) for each in drawn] == [len(share) for share in shares]
    # As a loader cuts them into batches, which are as many for every process.
    cut = [
        [own[i : i + s.batch_size] for i in range(0, len(own), s.batch_size)]
        for own, s in zip(drawn, shares, strict=True)
    ]
    assert {len(batches) for batches in cut} == {len(whole)}
    for number, expected in enumerate(whole):
        parts = [(share.of_batch(number), batches[number]) for share, batches in zip(shares, cut, strict=True)]
        own = [part for share, part in parts if share.images]
        assert [image for part in own for image in part] == expected
        assert max(map(len, own)) - min(map(len, own)) <= 1
        assert all(share.total == len(expected) for share, _ in parts)
        assert all(share.first == expected.index(part[0]) for share, part in parts if share.images)
        assert all(part == expected[:1] for share, part in parts if not share.images)


@pytest.mark.parametrize("first", [0, 3])
def test_a_branch_is_dropped_whoever_computes_it(first: int) -> None:
    drop, x = DropPath(0.5).train(), torch.ones(8, 2, 3, 3)
    torch.manual_seed(1)
    whole = drop(x)
    assert 0 < whole[:, 0, 0, 0].count_nonzero() < 8
    torch.manual_seed(1)
    drop.share = (first, 8)
    torch.testing.assert_close(drop(x[:4]), whole[first : first + 4])
