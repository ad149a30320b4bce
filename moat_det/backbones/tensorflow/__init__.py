"""Reads TensorFlow V2 checkpoints (the `.index` and `.data` files of a tensor bundle) without TensorFlow.

The parts, from the file inwards: `archive` takes the checkpoint out of a tar, `checkpoint` finds its files and reads
tensors, `table` and `snappy` read the index's blocks, `bundle` and `protobuf` what stands in them, `crc32c` checks all.
"""

from __future__ import annotations

from moat_det.backbones.tensorflow.bundle import VariableInfo
from moat_det.backbones.tensorflow.checkpoint import Checkpoint, open_checkpoint
from moat_det.backbones.tensorflow.errors import CheckpointError

__all__ = ["Checkpoint", "CheckpointError", "VariableInfo", "open_checkpoint"]
