"""What the index of a checkpoint says: its header and, for each variable, where and what its bytes are.

The messages `BundleHeaderProto` and `BundleEntryProto` of tensorflow/core/protobuf/tensor_bundle.proto.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from moat_det.backbones.tensorflow.errors import Fault
from moat_det.backbones.tensorflow.protobuf import Message
from moat_det.backbones.tensorflow.table import read_table

# How the bytes of each type that we read are stored, for NumPy; bfloat16 is the upper half of a float32.
STORED_AS = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2", "int64": "<i8", "int32": "<i4"}

# tensorflow/core/framework/types.proto, in the order of its numbers from 1
_NAMES = (
    "float32 float64 int32 uint8 int16 int8 string complex64 int64 bool qint8 quint8 qint32 bfloat16 qint16 quint16 "
    "uint16 complex128 float16 resource variant uint32 uint64 float8_e5m2 float8_e4m3fn float8_e4m3fnuz "
    "float8_e4m3b11fnuz float8_e5m2fnuz int4 uint4 int2 uint2"
)
_DTYPES = dict(enumerate(_NAMES.split(), start=1))

_FORMAT_VERSION = 1
_MAX_DIMENSIONS = 32  # of an array of NumPy 1


@dataclass(frozen=True, slots=True)
class VariableInfo:
    """What the index says about one variable.

    Args:
        dtype: The name of its TensorFlow type, "float32" or "bfloat16" for instance.
        shape: Its shape.
        shard: The data file that holds it, from 0.
        offset: Where its bytes start in that file.
        size: How many bytes they are.
        checksum: Their masked CRC-32C.
    """

    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int


def parse_index(index: bytes) -> tuple[int, dict[str, VariableInfo]]:
    """Parse the index of a checkpoint.

    Args:
        index: The whole `.index` file.

    Returns:
        The number of data files and the variables by name.

    Raises:
        Fault: The index is damaged, or of a kind that cannot be read.
    """
    pairs = read_table(index)
    key, value = next(pairs, (None, b""))
    if key != b"":
        raise Fault("its first entry is not the header of a checkpoint")
    shards = _parse_header(Message(value))
    variables = {}
    for key, value in pairs:
        try:
            name = key.decode("utf-8")
        except UnicodeDecodeError:
            raise Fault(f"the name {key!r} of a variable is not text") from None
        variables[name] = _parse_variable(name, Message(value), shards)
    return shards, variables


def _parse_header(header: Message) -> int:
    """Give the number of data files."""
    shards, big_endian, versions = header.integer(1), header.integer(2), header.messages(3)
    if not 1 <= shards <= 99999:
        raise Fault(f"its header speaks of {shards} data files")
    if big_endian:
        raise Fault("its tensors are big-endian", "save it again on a little-endian machine")
    least_reader = versions[-1].integer(2) if versions else 0
    if least_reader > _FORMAT_VERSION:
        raise Fault(f"it needs a reader of version {least_reader}", f"this one reads version {_FORMAT_VERSION}")
    return shards


def _parse_variable(name: str, entry: Message, shards: int) -> VariableInfo:
    if entry.messages(7):
        raise Fault(f"the variable {name!r} is stored in slices", "save the checkpoint without partitioned variables")
    dtype = _DTYPES.get(entry.integer(1))
    if dtype is None:
        raise Fault(f"the variable {name!r} has the unknown dtype number {entry.integer(1)}")
    shapes = entry.messages(2)
    shape = tuple(dimension.integer(1) for dimension in shapes[-1].messages(2)) if shapes else ()
    # NumPy refuses large dimensions even beside a 0, which makes the size 0.
    if len(shape) > _MAX_DIMENSIONS or min(shape, default=0) < 0 or math.prod(max(d, 1) for d in shape) >> 48:
        raise Fault(f"the variable {name!r} has the impossible shape {list(shape)[:_MAX_DIMENSIONS]}")
    shard, offset, size, checksum = (entry.integer(number) for number in (3, 4, 5, 6))
    if not 0 <= shard < shards or offset < 0 or size < 0:
        raise Fault(f"the variable {name!r} lies nowhere: data file {shard} of {shards}, offset {offset}, size {size}")
    if dtype in STORED_AS:
        expected = math.prod(shape) * int(STORED_AS[dtype][-1])
        if size != expected:
            raise Fault(f"the variable {name!r}, {dtype}{list(shape)}, takes {expected} bytes but is given {size}")
    return VariableInfo(dtype, shape, shard, offset, size, checksum)
