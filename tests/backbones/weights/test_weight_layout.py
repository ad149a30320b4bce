"""Official names and layouts of our weights."""

from __future__ import annotations

import pytest
import torch

from moat_det.backbones.weights.layout import is_of_training, variable_name, variable_view


@pytest.mark.parametrize(
    ("key", "name", "shape", "official"),
    [
        ("stem.conv_0.weight", "moat/stem/conv_0/kernel", (32, 3, 3, 3), (3, 3, 3, 32)),
        ("stem.norm_0.running_var", "moat/stem/norm_0/moving_variance", (32,), (32,)),
        ("stages.2.13.pre_norm.running_mean", "moat/block_02_13/pre_norm/moving_mean", (64,), (64,)),
        (
            "stages.0.1.depthwise_conv.weight",
            "moat/block_00_01/depthwise_conv/depthwise_kernel",
            (9, 1, 3, 3),
            (3, 3, 9, 1),
        ),
        (
            "stages.1.0.se.reduce_conv2d.weight",
            "moat/block_01_00/se/reduce_conv2d/kernel",
            (8, 64, 1, 1),
            (1, 1, 64, 8),
        ),
        ("stages.1.0.se.reduce_conv2d.bias", "moat/block_01_00/se/reduce_conv2d/bias", (8,), (8,)),
        ("stages.3.0.attention_norm.weight", "moat/block_03_00/attention_norm/gamma", (64,), (64,)),
        ("stages.3.0.attention.q.weight", "moat/block_03_00/attention/q/weight", (64, 64), (64, 2, 32)),
        ("stages.3.0.attention.v.bias", "moat/block_03_00/attention/v/bias", (64,), (2, 32)),
        ("stages.3.0.attention.o.weight", "moat/block_03_00/attention/o/weight", (64, 64), (2, 32, 64)),
        ("stages.3.0.attention.o.bias", "moat/block_03_00/attention/o/bias", (64,), (64,)),
        (
            "stages.3.0.attention.relative_position_embedding",
            "moat/block_03_00/attention/relative_position_embedding",
            (2, 13, 13),
            (2, 13, 13),
        ),
        ("final_layer_norm.bias", "moat/final_layer_norm/beta", (64,), (64,)),
        ("logits_head.weight", "moat/logits_head/kernel", (10, 64), (1, 1, 64, 10)),
        ("logits_head.bias", "moat/logits_head/bias", (10,), (10,)),
    ],
)
def test_names_and_layouts(key: str, name: str, shape: tuple[int, ...], official: tuple[int, ...]) -> None:
    weight = torch.zeros(shape)
    view = variable_view(key, weight)
    assert variable_name(key) == name
    assert view.shape == official
    view += 1
    assert weight.eq(1).all()


def test_a_query_is_the_official_product() -> None:
    """q[n, k] = sum over c of x[c] * weight[c, n, k], and channel n * 32 + k of ours."""
    layer = torch.nn.Linear(64, 64)
    official = torch.randn(64, 2, 32), torch.randn(2, 32)
    with torch.no_grad():
        variable_view("stages.2.0.attention.q.weight", layer.weight).copy_(official[0])
        variable_view("stages.2.0.attention.q.bias", layer.bias).copy_(official[1])
    x = torch.randn(64)
    expected = torch.einsum("c,cnk->nk", x, official[0]) + official[1]
    assert torch.allclose(layer(x).unflatten(0, (2, 32)), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("global_step", True),
        ("moat/x/kernel/ExponentialMovingAverage", True),
        ("moat/x/kernel/Adam_1", True),
        ("train/beta1_power_2", True),
        ("moat/x/kernel", False),
        ("moat/y/kernel/Adam", False),
        ("moat/x/kernel/Adam_12", False),
        ("moat/x/kernel/Adam/Adam", False),
        ("my_global_step", False),
        ("Adam", False),
    ],
)
def test_what_is_of_the_training(name: str, expected: bool) -> None:
    assert is_of_training(name, {"moat/x/kernel"}) is expected
