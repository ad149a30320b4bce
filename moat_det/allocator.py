"""What the C library does with memory that is freed: keeps it for the next blocks, or gives it back to the system."""

from __future__ import annotations

import ctypes
import os

_LIBC = ctypes.CDLL(None) if os.name == "posix" else None

# Of `mallopt`, in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

_LARGEST_KEPT = 2**30  # bytes of a block
_GIVEN_BACK = 2**20  # bytes from which on a block goes back


def keep_freed_memory() -> None:
    """Let this process keep the large blocks that it frees for the next ones.

    glibc takes a block of more than 32 MiB from the system each time, and the system clears its pages one by one as
    they are written: with maps of that size a quarter of a training step in float32. It is for processes that train,
    as a twentieth more memory may be taken. Nothing is changed with another C library, nor where the user has settled
    how memory is allocated.
    """
    settled = "malloc" in os.environ.get("GLIBC_TUNABLES", "") or any(name.startswith("MALLOC_") for name in os.environ)
    if _LIBC is None or not hasattr(_LIBC, "gnu_get_libc_version") or settled:
        return
    if _LIBC.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT):  # refused before glibc 2.35
        _LIBC.mallopt(_M_TRIM_THRESHOLD, -1)  # alone it would hold the other threshold where it is


def give_back_freed_memory() -> None:
    """Have this process's allocator give large freed blocks back to the system at once, as far as it can be told.

    glibc keeps freed blocks of up to 32 MiB for later ones; as those of a pass differ in size, many fit nowhere, and up
    to twice the live memory stays taken. The system then clears every block anew, which made passes at 640 px
    a quarter slower: so it is done only where memory is short.
    """
    if _LIBC is None or not hasattr(_LIBC, "gnu_get_libc_version"):
        return
    _LIBC.mallopt(_M_MMAP_THRESHOLD, _GIVEN_BACK)
    _LIBC.mallopt(_M_TRIM_THRESHOLD, _GIVEN_BACK)
    _LIBC.malloc_trim(0)
