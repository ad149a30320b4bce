from __future__ import annotations

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moat_det.backbones.tensorflow.crc32c import masked_crc32c

DATA = np.random.default_rng(0).integers(0, 256, 1 << 20, dtype=np.uint8).tobytes()


def masked(crc: int) -> int:
    return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) % 2**32


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),  # these four: RFC 3720, B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_known_checksums(data: bytes, checksum: int) -> None:
    assert masked_crc32c(data) == masked(checksum)


@pytest.mark.parametrize("size", [*range(1, 20), 1031, 1036, 1037, 1044, 66_000, 262_143, 262_144, 262_145, 1 << 20])
def test_any_size(size: int) -> None:
    assert masked_crc32c(memoryview(bytearray(DATA))[:size]) == masked(google_crc32c.value(DATA[:size]))


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=600_000), st.integers(0, 600_000))
def test_a_part_is_as_good_as_a_copy(data: bytes, start: int) -> None:
    assert masked_crc32c(memoryview(data)[start:]) == masked(google_crc32c.value(data[start:]))
