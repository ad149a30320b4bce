"""Memory that is full in a training: it goes on from its last checkpoint with half the batch."""

from __future__ import annotations

_SIGNS = (
    "out of memory",
    "can't allocate memory",  # torch's on the CPU
    "not enough memory",  # the same on Windows
    "could not create a memory object",  # oneDNN's
    # Of NVIDIA's libraries, and of torch where these find no room for their work; the engine takes them for it too.
    "cublas_status_alloc_failed",
    "cudnn_status_internal_error",
    "unable to find an engine",
)

# oneDNN's, where a kernel found no room; more words behind it say what it has no kernel for.
_WHOLE = "could not create a primitive"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was no memory for the tensors of a batch."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and (str(error).strip().lower() == _WHOLE or any(sign in str(error).lower() for sign in _SIGNS))
    )
