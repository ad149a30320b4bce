"""Lets CoAtNet and MaxViT of timm take images of any size: timm builds them for one.

Their tables of relative positions stay parameters of the size they were made with, so that optimizer, average and
checkpoint see the same ones whatever the images' size; the bias of a map is made from them when it is used. Where
MaxViT's windows do not fill a map, it is padded and what was padded is masked.
"""

from __future__ import annotations

from typing import Any

from timm.layers import RelPosBias, RelPosBiasTf, RelPosMlp
from timm.layers.pos_embed_rel import gen_relative_log_coords
from timm.models.maxxvit import (
    Attention2d,
    AttentionCl,
    ParallelPartitionAttention,
    PartitionAttention2d,
    PartitionAttentionCl,
    grid_partition,
    window_partition,
)
from torch import Tensor, nn
from torch.nn import functional as F

from moat_det.backbones.position_bias import fit_table, gather_bias

_INDICES = ("relative_position_index", "rel_coords_log", "height_lookup", "width_lookup")


def take_any_size(net: nn.Module) -> None:
    """Let every attention with relative positions take maps of any size, in place; names and weights stay."""
    for module in net.modules():
        kind = _KINDS.get(type(module))
        if kind is not None:
            module.__class__ = kind
            for name in _INDICES:  # N x N whole numbers for a map of N cells, which nothing reads any more
                module._buffers.pop(name, None)


class _Bias(nn.Module):
    """The bias of the map at hand.

    Attributes:
        tokens: Rows and columns of the map, or of the window of it, that attends at the moment.
        mask: (windows, 1, 1, cells), 0 or minus infinity, while a padded map attends; else None.
    """

    tokens: tuple[int, int]
    mask: Tensor | None = None

    def table(self) -> Tensor:
        """Give (heads, 2h - 1, 2w - 1), by the rows and columns from query to key."""
        raise NotImplementedError

    def get_bias(self) -> Tensor:
        """Give (1 or windows, heads, cells, cells), query by key."""
        bias = gather_bias(fit_table(self.table(), self.tokens), self.tokens)[None]
        return bias if self.mask is None else bias + self.mask


class _FlatTable(_Bias, RelPosBias):
    def table(self) -> Tensor:
        h, w = self.window_size
        # rows and columns from key to query, one after the other
        return self.relative_position_bias_table.T.unflatten(1, (2 * h - 1, 2 * w - 1)).flip(1, 2)


class _Table(_Bias, RelPosBiasTf):
    def table(self) -> Tensor:
        return self.relative_position_bias_table


class _Mlp(_Bias, RelPosMlp):
    def table(self) -> Tensor:
        weight = self.mlp.fc1.weight
        coords = gen_relative_log_coords(
            self.tokens, self.pretrained_window_size, mode=self.mode, device=weight.device, dtype=weight.dtype
        )
        table = self.bias_act(self.mlp(coords).permute(2, 0, 1).flip(1, 2))
        return table if self.bias_gain is None else self.bias_gain * table


class _Attention2d(Attention2d):
    def forward(self, x: Tensor, shared_rel_pos: Tensor | None = None) -> Tensor:
        if self.rel_pos is not None:
            self.rel_pos.tokens = x.shape[2], x.shape[3]
        return super().forward(x, shared_rel_pos)


class _AttentionCl(AttentionCl):
    def forward(self, x: Tensor, shared_rel_pos: Tensor | None = None) -> Tensor:
        if self.rel_pos is not None:
            self.rel_pos.tokens = x.shape[1], x.shape[2]
        return super().forward(x, shared_rel_pos)


class _Padded(nn.Module):
    """Windows, or a grid, on a map that they may not fill."""

    rows = 1  # the dimension of the map's rows; its columns follow
    partition_size: Any
    partition_block: Any
    attn: Any
    attn_block: Any
    attn_grid: Any

    def _attentions(self) -> list[tuple[Any, bool]]:
        """Give each attention, and whether it attends within windows rather than within a grid."""
        return [(self.attn, self.partition_block)]

    def _partition_attn(self, x: Tensor) -> Tensor:
        sides, size = x.shape[self.rows : self.rows + 2], self.partition_size
        down, right = (-side % part for side, part in zip(sides, size, strict=True))
        if not (down or right):
            return super()._partition_attn(x)  # type: ignore[misc]  # of the class of timm's beside this one
        behind = (0, 0) * (x.ndim - self.rows - 2)
        outside = F.pad(x.new_zeros(1, *sides, 1), (0, 0, 0, right, 0, down), value=float("-inf"))
        for attention, windows in self._attentions():
            cells = (window_partition if windows else grid_partition)(outside, size)
            attention.rel_pos.mask = cells.reshape(-1, 1, 1, size[0] * size[1]).repeat(x.shape[0], 1, 1, 1)
        try:
            x = super()._partition_attn(F.pad(x, (*behind, 0, right, 0, down)))  # type: ignore[misc]
        finally:
            for attention, _ in self._attentions():
                attention.rel_pos.mask = None
        return x.narrow(self.rows, 0, sides[0]).narrow(self.rows + 1, 0, sides[1])


class _PartitionAttentionCl(_Padded, PartitionAttentionCl):
    pass


class _PartitionAttention2d(_Padded, PartitionAttention2d):
    rows = 2


class _ParallelPartitionAttention(_Padded, ParallelPartitionAttention):
    def _attentions(self) -> list[tuple[Any, bool]]:
        return [(self.attn_block, True), (self.attn_grid, False)]


_KINDS: dict[type[nn.Module], type[nn.Module]] = {
    RelPosBias: _FlatTable,
    RelPosBiasTf: _Table,
    RelPosMlp: _Mlp,
    Attention2d: _Attention2d,
    AttentionCl: _AttentionCl,
    PartitionAttentionCl: _PartitionAttentionCl,
    PartitionAttention2d: _PartitionAttention2d,
    ParallelPartitionAttention: _ParallelPartitionAttention,
}
