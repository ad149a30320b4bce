"""How a backbone behaves, whatever its weights."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from moat_det.backbones import MOATBackbone, create_backbone


def lively(**arguments: object) -> MOATBackbone:
    """A tiny_moat0 in eval mode whose weights are large enough for every part to matter."""
    torch.manual_seed(0)
    backbone = create_backbone("tiny_moat0", **arguments)
    for name, parameter in backbone.named_parameters():
        if name.endswith("relative_position_embedding"):
            torch.nn.init.normal_(parameter)
        elif parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
        else:
            torch.nn.init.normal_(parameter, mean=float(not name.endswith("bias")), std=0.1)
    return backbone.eval()


def relative(a: Tensor, b: Tensor) -> float:
    """Largest difference in standard deviations of b."""
    return ((a - b).abs().max() / b.std()).item()


@torch.no_grad()
@pytest.mark.parametrize("pool_size", [2, 3])
@pytest.mark.parametrize("window", ["full", 5])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (31, 97), (33, 64), (100, 130)])
def test_any_size(size: tuple[int, int], window: str | int, pool_size: int) -> None:
    backbone = lively(window=window, pool_size=pool_size)
    maps = backbone(torch.randn(2, 3, *size))
    for name, stride in backbone.strides.items():
        assert maps[name].shape[2:] == (-(-size[0] // stride), -(-size[1] // stride))
        assert maps[name].isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("window", ["full", 4])
def test_images_of_a_batch_do_not_mix(window: str | int) -> None:
    backbone, x = lively(window=window), torch.randn(4, 3, 96, 160)
    order = torch.tensor([2, 0, 3, 1])
    straight, permuted, alone = backbone(x), backbone(x[order]), backbone(x[2:3])
    for name, m in straight.items():
        assert relative(permuted[name], m[order]) < 1e-5
        assert relative(alone[name], m[2:3]) < 1e-5


@torch.no_grad()
def test_full_is_the_window_of_the_whole_map() -> None:
    x = torch.randn(1, 3, 160, 224)
    full = lively()(x)
    fixed = lively(window=[None, None, (10, 14), (5, 7)])(x)
    smaller = lively(window=[None, None, (5, 7), (5, 7)])(x)
    assert torch.equal(full["stage5"], fixed["stage5"])
    assert relative(smaller["stage4"], full["stage4"]) > 0.01


@torch.no_grad()
def test_memory_format_does_not_change_the_result() -> None:
    backbone, x = lively(window=3), torch.randn(2, 3, 96, 128)
    plain = backbone(x)
    last = backbone.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    for name, m in last.items():
        assert m.is_contiguous(memory_format=torch.channels_last)
        assert relative(m, plain[name]) < 1e-4


@torch.no_grad()
def test_a_moved_picture_moves_the_response() -> None:
    """A spot on a plain ground, moved by whole cells of stage 3, moves the response as far."""
    backbone = lively()
    spot = torch.randn(3, 24, 24)
    images = torch.zeros(2, 3, 256, 256)
    images[0, :, 112:136, 112:136] = spot
    images[1, :, 128:152, 104:128] = spot
    here, there = backbone(images)["stage3"]
    inner = here[:, 8:24, 8:24]
    assert relative(there[:, 10:26, 7:23], inner) < 1e-4
    assert relative(there[:, 8:24, 8:24], inner) > 0.1


@torch.no_grad()
def test_res_endpoints_are_the_activated_stages() -> None:
    backbone, x = lively(), torch.randn(1, 3, 64, 64)
    maps = backbone.forward_features(x, activated=True)
    assert list(maps) == [f"{kind}{i}" for kind in ("stage", "res") for i in range(1, 6)]
    for i in range(1, 6):
        assert torch.equal(maps[f"res{i}"], F.gelu(maps[f"stage{i}"]))
    assert list(backbone(x)) == [f"stage{i}" for i in range(1, 6)]


@torch.no_grad()
def test_head_gives_logits() -> None:
    backbone = lively(num_classes=7)
    assert backbone(torch.randn(2, 3, 64, 96)).shape == (2, 7)


@pytest.mark.parametrize("window", ["full", 3])
def test_every_parameter_learns(window: str | int) -> None:
    backbone = lively(window=window, num_classes=5).train()
    backbone(torch.randn(2, 3, 128, 160)).square().sum().backward()
    for name, parameter in backbone.named_parameters():
        # what a softmax or a batch norm takes away again
        if name.endswith(("attention.k.bias", "pre_norm.bias")) or name == "stem.conv_0.bias":
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_position_tables_are_live() -> None:
    """A table that changes in place changes the output, also after inference mode has seen the old one."""
    backbone, x = lively(), torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        before = backbone(x)["stage5"]
    with torch.no_grad():
        backbone.stages[3][1].attention.relative_position_embedding.mul_(-1)
    after = backbone(x)["stage5"]
    assert relative(after.detach(), before.clone()) > 1e-3
    after.sum().backward()


def saved_bytes_and_gradients(backbone: MOATBackbone, x: Tensor) -> tuple[int, list[Tensor]]:
    """Bytes that a training step keeps for its backward pass, and the gradients that it makes."""
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = backbone(x)["stage5"].square().sum()
    return sum(saved.values()), list(torch.autograd.grad(loss, list(backbone.parameters())))


@pytest.mark.parametrize("window", ["full", 5])
def test_checkpointed_attention_is_the_same_with_less_kept(window: str | int) -> None:
    x = torch.randn(2, 3, 96, 128)
    kept, expected = saved_bytes_and_gradients(lively(window=window).train(), x)
    less, gradients = saved_bytes_and_gradients(lively(window=window, checkpoint_attention=True).train(), x)
    assert all(torch.equal(a, b) for a, b in zip(gradients, expected, strict=True))
    assert less < 0.95 * kept


def test_drop_path_acts_in_training_only() -> None:
    x = torch.randn(4, 3, 64, 64)
    dropping, plain = lively(drop_path=0.9), lively(drop_path=0.0)
    with torch.no_grad():
        assert torch.equal(dropping(x)["stage5"], plain(x)["stage5"])
        assert torch.equal(plain.train()(x)["stage5"], plain(x)["stage5"])
        assert not torch.equal(dropping.train()(x)["stage5"], dropping(x)["stage5"])


@torch.no_grad()
def test_bfloat16_autocast_is_close() -> None:
    backbone, x = lively(window=[None, None, 5, None]), torch.randn(1, 3, 128, 160)
    with torch.autocast("cpu", torch.bfloat16):
        low = backbone(x)
    for name, m in backbone(x).items():
        assert low[name].dtype == torch.bfloat16
        assert (low[name].float() - m).square().mean().sqrt() < 0.05 * m.std()


def test_copies_and_state_dict_after_use() -> None:
    backbone, x = lively(window=5), torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        expected = backbone(x)["stage5"]
        fresh = create_backbone("tiny_moat0", window=5).eval()
        fresh.load_state_dict(backbone.state_dict())
        for other in (copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone)), fresh):
            assert torch.equal(other(x)["stage5"], expected)
    statistics = {"running_mean", "running_var", "num_batches_tracked"}
    parameters = dict(backbone.named_parameters())
    assert all(name in parameters or name.rsplit(".", 1)[1] in statistics for name in backbone.state_dict())
