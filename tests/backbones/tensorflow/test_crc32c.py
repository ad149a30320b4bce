from __future__ import annotations

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moat_det.backbones.tensorflow import crc32c

DATA = np.random.default_rng(0).integers(0, 256, 1 << 20, dtype=np.uint8).tobytes()


@pytest.fixture(params=["google_crc32c", "numpy"])
def _implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    assert crc32c._NATIVE, "the compiled google_crc32c is what the tests compare with"
    monkeypatch.setattr(crc32c, "_NATIVE", request.param == "google_crc32c")


@pytest.mark.usefixtures("_implementation")
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
    assert crc32c.crc32c(data) == checksum


@pytest.mark.usefixtures("_implementation")
@pytest.mark.parametrize("size", [*range(1, 20), 1031, 1036, 1037, 1044, 66_000, 262_143, 262_144, 262_145, 1 << 20])
def test_any_size(size: int) -> None:
    assert crc32c.crc32c(DATA[:size]) == google_crc32c.value(DATA[:size])


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=3000), st.binary(max_size=3000))
def test_extension_is_the_checksum_of_the_whole(first: bytes, second: bytes) -> None:
    extended = crc32c.extend_with_numpy(crc32c.extend_with_numpy(0, first), second)
    assert extended == google_crc32c.value(first + second)


def test_mask() -> None:
    crc = google_crc32c.value(b"data")
    assert crc32c.masked_crc32c(b"data") == ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) % 2**32
