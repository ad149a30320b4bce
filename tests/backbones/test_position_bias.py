"""Position tables: fitting them to windows, spreading them over pairs of cells, and remembering them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from moat_det.backbones.moat.attention import Attention
from moat_det.backbones.position_bias import FittedTables, crop_table, fit_table, gather_bias, stretch_by_products


def test_bias_is_the_table_at_key_minus_query() -> None:
    h, w = 3, 4
    table = torch.randn(2, 2 * h - 1, 2 * w - 1)
    bias = gather_bias(table, (h, w)).view(2, h, w, h, w)
    for i in range(h):
        for j in range(w):
            for x in range(h):
                for y in range(w):
                    assert torch.equal(bias[:, i, j, x, y], table[:, x - i + h - 1, y - j + w - 1])


def test_a_smaller_window_needs_the_middle_of_the_table() -> None:
    table = torch.randn(2, 9, 11)
    whole = gather_bias(table, (5, 6)).view(2, 5, 6, 5, 6)
    part = gather_bias(crop_table(table, (2, 4)), (2, 4)).view(2, 2, 4, 2, 4)
    assert torch.equal(part, whole[:, 1:3, 2:6, 1:3, 2:6])


def test_stretching_is_bilinear() -> None:
    table = torch.randn(2, 27, 27)
    assert fit_table(table, (14, 14)) is table
    expected = F.interpolate(table[None], (39, 31), mode="bilinear", align_corners=False)[0]
    assert torch.equal(fit_table(table, (20, 16)), expected)
    assert fit_table(table.bfloat16(), (20, 16)).dtype == torch.float32
    assert fit_table(table.double(), (20, 16)).dtype == torch.float64


@pytest.mark.parametrize("size", [(39, 31), (7, 41), (27, 9)])
def test_a_gpu_stretches_by_products_of_matrices(size: tuple[int, int]) -> None:
    table = torch.randn(2, 27, 27, dtype=torch.float64, requires_grad=True)
    expected = F.interpolate(table[None], size, mode="bilinear", align_corners=False)[0]
    stretched, grad = stretch_by_products(table, size), torch.randn_like(expected)
    gradients = [torch.autograd.grad(result, table, grad)[0] for result in (stretched, expected)]
    torch.testing.assert_close(stretched, expected)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("window", [(20, 20), (20, 6), (6, 20), (30, 12)])
def test_clamping_repeats_the_farthest_of_the_reach(window: tuple[int, int]) -> None:
    """Distances within the reach keep their bias; those past it have that of its edge; a smaller window stretches."""
    table, reach = torch.randn(2, 9, 9), (10, 12)
    inner = (min(window[0], reach[0]), min(window[1], reach[1]))
    stretched, clamped = fit_table(table, inner), fit_table(table, window, reach)
    assert clamped.shape == (2, 2 * window[0] - 1, 2 * window[1] - 1)
    for down in range(1 - window[0], window[0]):
        for right in range(1 - window[1], window[1]):
            nearest = [max(1 - n, min(n - 1, d)) + n - 1 for n, d in zip(inner, (down, right), strict=True)]
            ours = clamped[:, down + window[0] - 1, right + window[1] - 1]
            assert torch.equal(ours, stretched[:, nearest[0], nearest[1]])


def test_fitted_tables_are_kept_as_long_as_the_content_is() -> None:
    fitted, table = FittedTables(), nn.Parameter(torch.randn(2, 9, 9))
    first = fitted.fit(table, (7, 8), None)
    assert fitted.fit(table, (7, 8), None) is first
    assert not first.requires_grad
    assert fitted.fit(table, (7, 8), (6, 6)) is not first
    with torch.no_grad():
        table.mul_(2)
    assert torch.equal(fitted.fit(table, (7, 8), None), 2 * first)
    table.data = torch.zeros_like(table)
    assert not fitted.fit(table, (7, 8), None).any()


def test_only_the_last_sizes_are_kept() -> None:
    fitted, table = FittedTables(), nn.Parameter(torch.randn(1, 5, 5))
    tables = [fitted.fit(table, (size, size), None) for size in range(1, 30)]
    assert fitted.fit(table, (29, 29), None) is tables[-1]
    assert fitted.fit(table, (1, 1), None) is not tables[0]
    assert fitted._remembered is not None
    assert len(fitted._remembered.fitted) == FittedTables.SIZES


def test_copies_and_files_hold_no_fitted_tables() -> None:
    attention = Attention(32, 4).eval()
    nn.init.normal_(attention.relative_position_embedding)
    empty = len(pickle.dumps(attention))
    with torch.inference_mode():
        attention(torch.randn(1, 30, 30, 32))
    assert attention._fitted._remembered is not None
    assert copy.deepcopy(attention)._fitted._remembered is None
    assert len(pickle.dumps(attention)) == empty
    assert len(attention.state_dict()) == 9


def test_content_that_changes_behind_the_version_is_seen() -> None:
    """`to` and its like can leave a table with other content, the same version, and the same place in memory."""
    attention, x = Attention(32, 4).eval(), torch.randn(1, 6, 6, 32)
    nn.init.normal_(attention.relative_position_embedding)
    with torch.no_grad():
        attention(x)
        attention._apply(lambda tensor: tensor.data.mul_(2))
        fresh = Attention(32, 4).eval()
        fresh.load_state_dict(attention.state_dict())
        assert torch.equal(attention(x), fresh(x))


@pytest.mark.parametrize("learns", [True, False])
def test_what_inference_left_does_not_reach_training(learns: bool) -> None:
    """A frozen table's fitted form, made in inference mode, is used in training: as an ordinary tensor."""
    attention, x = Attention(32, 4), torch.randn(1, 6, 6, 32, requires_grad=True)
    attention.relative_position_embedding.requires_grad_(learns)
    with torch.inference_mode():
        attention(x)
    attention(x).sum().backward()
    assert x.grad is not None
    assert (attention.relative_position_embedding.grad is not None) == learns


def test_a_model_made_in_inference_mode_works_outside_of_it() -> None:
    with torch.inference_mode():
        attention = Attention(32, 4)
        nn.init.normal_(attention.relative_position_embedding)
    with torch.no_grad():
        assert attention(torch.randn(1, 6, 6, 32)).isfinite().all()


def _load(attention: Attention, new: torch.Tensor) -> None:
    state = {**attention.state_dict(), "relative_position_embedding": new}
    attention.load_state_dict(state, assign=True)


def _write_data(attention: Attention, new: torch.Tensor) -> None:
    assert attention.relative_position_embedding is not None
    attention.relative_position_embedding.data.copy_(new)


def _write_numpy(attention: Attention, new: torch.Tensor) -> None:
    assert attention.relative_position_embedding is not None
    attention.relative_position_embedding.detach().numpy()[:] = new.numpy()


# The table as it is trained (P = 14 cells), a smaller and a stretched window.
@pytest.mark.parametrize("side", [14, 6, 20])
@pytest.mark.parametrize("write", [_load, _write_data, _write_numpy])
def test_whatever_writes_the_weights_is_seen(write: Callable[[Attention, torch.Tensor], None], side: int) -> None:
    attention, x = Attention(32, 14).eval(), torch.randn(1, side, side, 32)
    with torch.inference_mode():
        for seed in range(24):  # freed memory is used again: an address tells nothing
            new = torch.randn(1, 27, 27, generator=torch.Generator().manual_seed(seed))
            write(attention, new)
            fresh = Attention(32, 14).eval()
            fresh.load_state_dict({**attention.state_dict(), "relative_position_embedding": new})
            assert torch.equal(attention(x), fresh(x)), seed


def test_other_weights_for_one_call_are_seen() -> None:
    attention, x = Attention(32, 4).eval(), torch.randn(1, 6, 6, 32)
    nn.init.normal_(attention.relative_position_embedding)
    with torch.no_grad():
        own = attention(x)
        for seed in range(24):
            new = torch.randn(1, 7, 7, generator=torch.Generator().manual_seed(seed))
            fresh = Attention(32, 4).eval()
            fresh.load_state_dict({**attention.state_dict(), "relative_position_embedding": new})
            called = torch.func.functional_call(attention, {"relative_position_embedding": new}, (x,))
            assert torch.equal(called, fresh(x)), seed
            assert torch.equal(attention(x), own), seed


def test_a_tensor_of_inference_mode_is_not_remembered() -> None:
    with torch.inference_mode():
        table = torch.randn(2, 9, 9)
        fitted = FittedTables()
        assert fitted.fit(table, (7, 8), None) is not fitted.fit(table, (7, 8), None)
        assert fitted._remembered is None
