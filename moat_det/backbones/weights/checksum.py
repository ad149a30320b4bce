"""SHA-256 of files, kept beside them as `<file>.sha256`, which `sha256sum --check` reads too."""

from __future__ import annotations

from pathlib import Path

from moat_det.errors import UserError
from moat_det.files import atomic_write_text, sha256


def checksum_file(path: Path) -> Path:
    """Give where the SHA-256 of `path` is kept."""
    return path.with_name(f"{path.name}.sha256")


def record(content: Path, path: Path) -> None:
    """Keep the SHA-256 of `content`, which is about to become `path`."""
    atomic_write_text(checksum_file(path), f"{sha256(content)}  {path.name}\n")


def verify(path: Path) -> None:
    """Compare a file with its recorded SHA-256, if there is one.

    Raises:
        UserError: They differ.
    """
    kept = checksum_file(path)
    if not kept.is_file():
        return
    recorded, found = kept.read_text(encoding="utf-8", errors="replace").split()[:1], sha256(path)
    if recorded != [found]:
        raise UserError(
            f"{path} is damaged or another file: its SHA-256 is {found}, and {kept.name} says "
            f"{' '.join(recorded) or 'nothing'}; move both away to fetch it anew, or that alone if the file is right"
        )
