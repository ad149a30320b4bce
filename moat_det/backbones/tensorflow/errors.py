"""The one error of a checkpoint that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from moat_det.errors import UserError


class CheckpointError(UserError):
    """A checkpoint that cannot be read: one line with the file, the fault and the way out."""


class Fault(Exception):
    """What is wrong, raised where the bytes are parsed and the file's name is not known.

    Args:
        what: The fault.
        remedy: What the user can do about it.
    """

    def __init__(self, what: str, remedy: str = "the checkpoint is damaged or incomplete, fetch it again") -> None:
        super().__init__(f"{what}: {remedy}")


@contextmanager
def blame(file: object) -> Iterator[None]:
    """Turn a fault, or an error of the system, inside the block into a `CheckpointError` that names `file`."""
    try:
        yield
    except Fault as fault:
        raise CheckpointError(f"{file}: {fault}") from None
    except OSError as error:
        what = error.strerror or error
        raise CheckpointError(f"{file}: {what}: check its permissions and the space for temporary files") from error
