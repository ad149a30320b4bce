"""Attention of timm's networks: fused or by the textbook, and the same."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from moat_det.backbones import create_backbone
from moat_det.backbones.few_tokens import FEW, learns_faster_plainly
from moat_det.backbones.moat.attention import attend


def switches(net: nn.Module) -> list[bool]:
    return [module.fused_attn for module in net.modules() if hasattr(module, "fused_attn")]


@pytest.mark.parametrize("name", ["mobilevit_xxs", "coatnet_nano_rw_224", "maxvit_nano_rw_256"])
def test_few_tokens_learn_plainly_in_bfloat16(name: str) -> None:
    """At 128 px no map or window has more of them; what comes out and is learnt differs by rounding alone."""
    torch.manual_seed(0)
    net = create_backbone(f"timm/{name}").eval()
    x = torch.randn(2, 3, 128, 128)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        net(x)
        assert all(switches(net))
    found = []
    for dtype in (torch.bfloat16, None):
        net.zero_grad()
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            levels = list(net(x).values())
        sum(level.float().square().mean() for level in levels).backward()
        found.append((levels[-1].float(), next(net.parameters()).grad.clone()))
        assert set(switches(net)) == {dtype is None}
    for reduced, exact in zip(*found, strict=True):
        assert (reduced - exact).norm() < 0.1 * exact.norm()


def test_many_tokens_stay_fused() -> None:
    net = create_backbone("timm/mobilevit_xxs")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        net(torch.randn(2, 3, 320, 320))  # 2 x 2 groups of 20 x 20, 10 x 10 and 5 x 5 tokens
    assert set(switches(net)) == {True, False}


def test_what_counts() -> None:
    reduced = torch.zeros(1, dtype=torch.bfloat16)
    assert learns_faster_plainly(reduced, FEW)
    assert not learns_faster_plainly(reduced, FEW + 1)
    assert not learns_faster_plainly(reduced.float(), 1)
    assert not learns_faster_plainly(reduced.to("meta"), 1)
    with torch.no_grad():
        assert not learns_faster_plainly(reduced, 1)


def test_moat_without_a_table_too(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = (torch.randn(2, 3, 12, 32).bfloat16().requires_grad_() for _ in range(3))
    exact = attend(q.float(), k.float(), v.float(), None, (3, 4))
    with monkeypatch.context() as patch:
        patch.setattr("torch.nn.functional.scaled_dot_product_attention", None)
        torch.testing.assert_close(attend(q, k, v, None, (3, 4)).float(), exact, atol=2e-2, rtol=2e-2)
