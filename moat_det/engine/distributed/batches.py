"""Telling a model which images of a shared batch it computes."""

from __future__ import annotations

from torch import nn

from moat_det.backbones.drop_path import DropPath
from moat_det.data.loader.shares import Share
from moat_det.engine.distributed.batch_norm import SyncBatchNorm


class ShareOfBatches:
    """Tells the layers of a model that depend on the whole batch what of it is here.

    Args:
        model: In training.
    """

    def __init__(self, model: nn.Module) -> None:
        self._norms = [module for module in model.modules() if isinstance(module, SyncBatchNorm)]
        self._drops = [module for module in model.modules() if isinstance(module, DropPath)]

    def set(self, share: Share) -> None:
        """Say which images come next."""
        for norm in self._norms:
            norm.counts = share.images > 0
        for drop in self._drops:
            drop.share = (share.first if share.images else 0, share.total)
