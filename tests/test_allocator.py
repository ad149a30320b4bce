"""Large blocks of memory are kept for the next pass."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

_COUNT = """
import resource, sys
import torch
from moat_det.allocator import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(40):
    torch.full((25_000_000,), 1.0)  # 100 MB, more than glibc keeps by itself
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _page_faults(how: str, **environment: str) -> int:
    """Count the pages that the system cleared while 4 GB were written to blocks that are freed in between."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_", "THP_MEM"))}
    environment = {**plain, "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-c", _COUNT, how]
    return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep what is freed")
def test_what_is_freed_is_kept_and_the_user_may_settle_otherwise() -> None:
    if tuple(map(int, platform.libc_ver()[1].split("."))) < (2, 35):
        pytest.skip("glibc keeps no blocks of this size before 2.35")
    cleared = _page_faults("none")
    # Small blocks that come to lie between the large ones cost a few of them.
    assert _page_faults("keep") < cleared / 2
    assert _page_faults("keep", MALLOC_TRIM_THRESHOLD_="100000") > 0.9 * cleared
