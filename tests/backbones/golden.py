"""Reads the golden checkpoints (TensorFlow's V2 bundle, without TensorFlow) into state dicts of ours.

A bundle is an index, an uncompressed leveldb table from names to protocol buffers, and raw little-endian
data.
"""

from __future__ import annotations

import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

MAGIC = 0xDB4775248B80FB57
DTYPES = {1: "<f4", 9: "<i8"}
LEAVES = {
    "kernel": "weight",
    "depthwise_kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Fields of a protocol buffer: (number, value)."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
        else:
            size = {1: 8, 5: 4}.get(tag & 7)
            if size is None:
                size, at = _varint(data, at)
            yield tag >> 3, data[at : at + size]
            at += size


def _block(index: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Entries of a table's block, whose keys each share a prefix with the one before."""
    at, pos = _varint(handle, 0)
    size, _ = _varint(handle, pos)
    block = index[at : at + size]
    end = len(block) - 4 - 4 * struct.unpack("<I", block[-4:])[0]
    key, at = b"", 0
    while at < end:
        shared, at = _varint(block, at)
        fresh, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + fresh]
        at += fresh
        yield key, block[at : at + length]
        at += length


def read_checkpoint(archive: Path) -> dict[str, np.ndarray]:
    """Every tensor of the one-shard bundle in a .tar.gz, by its TensorFlow name."""
    with tarfile.open(archive) as tar:
        files = {Path(m.name).name: tar.extractfile(m).read() for m in tar if m.isfile()}
    index, data = files["model.ckpt.index"], files["model.ckpt.data-00000-of-00001"]
    footer = index[-48:]
    assert struct.unpack("<Q", footer[-8:])[0] == MAGIC
    at = 0
    for _ in range(2):  # the handle of the meta index block
        _, at = _varint(footer, at)
    tensors = {}
    for _, handle in _block(index, footer[at:]):
        for key, value in _block(index, handle):
            if not key:  # the header
                continue
            entry = dict(_fields(value))
            dims = [dict(_fields(dim)).get(1, 0) for _, dim in _fields(entry.get(2, b""))]
            start = entry.get(4, 0)
            raw = data[start : start + entry[5]]
            tensors[key.decode()] = np.frombuffer(raw, DTYPES[entry[1]]).reshape(dims)
    return tensors


def our_name(key: str) -> str:
    """`moat/block_02_01/pre_norm/gamma` -> `stages.2.1.pre_norm.weight`."""
    *path, leaf = key.removeprefix("moat/").split("/")
    if path[0].startswith("block_"):
        stage, block = path[0].split("_")[1:]
        path[:1] = ["stages", str(int(stage)), str(int(block))]
    return ".".join([*path, LEAVES.get(leaf, leaf)])


def our_layout(key: str, value: np.ndarray) -> np.ndarray:
    """TensorFlow's layout of a variable to torch's."""
    leaf = key.rsplit("/", 1)[1]
    if key == "moat/logits_head/kernel":
        return value[0, 0].T
    if leaf == "kernel":
        return value.transpose(3, 2, 0, 1)
    if leaf == "depthwise_kernel":
        return value.transpose(2, 3, 0, 1)
    if "/attention/" in key and leaf == "weight":  # [C, N, 32], and [N, 32, C] of o
        inner = value.shape[0] if value.shape[1] != 32 else value.shape[2]
        return value.reshape(inner, inner).T
    if "/attention/" in key and leaf == "bias":
        return value.reshape(-1)
    return value


def state_dict(tensors: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """A checkpoint's tensors under our names and in our layout."""
    return {
        our_name(key): torch.from_numpy(our_layout(key, value).copy())
        for key, value in tensors.items()
        if key.startswith("moat/")
    }
