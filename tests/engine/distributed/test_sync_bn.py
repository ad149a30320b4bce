"""Which batch norms can be those of several processes."""

from __future__ import annotations

import pytest
import torch
from timm.layers import BatchNormAct2d, SplitBatchNorm2d
from torch import nn

from moat_det.engine.distributed.batch_norm import SyncBatchNorm, synchronize
from moat_det.errors import UserError


def test_norms_of_torch_and_timm_keep_what_they_hold_and_do() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3, eps=1e-3), BatchNormAct2d(3, act_layer=nn.SiLU)).eval()
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 2)
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    before, held = model(x), {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}
    synchronize(model)
    assert all(isinstance(norm, SyncBatchNorm) for norm in model)
    assert {name: tensor.data_ptr() for name, tensor in model.state_dict().items()} == held
    torch.testing.assert_close(model(x), before)


def test_one_that_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"--sync-bn: .* of the kind SplitBatchNorm2d"):
        synchronize(nn.Sequential(SplitBatchNorm2d(4)))
