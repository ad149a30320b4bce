"""The mean of the gradients of several processes, whichever parameters take part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import distributed, nn

from moat_det.engine.distributed.gradients import share_gradients


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("compiled", [False, True])
def test_a_part_that_is_held_at_first_trains_afterwards(compiled: bool) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    shared = share_gradients(model, compiled, some_idle=True)
    for held in (True, True, False, False):
        model[0].requires_grad_(not held)
        model.zero_grad()
        shared(torch.ones(1, 2)).sum().backward()
        assert (model[0].weight.grad is None) == held
        assert model[1].weight.grad is not None
