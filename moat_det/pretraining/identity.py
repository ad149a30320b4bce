"""What tells the pictures of a training from others, wherever they lie."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any


def identity(pictures: Iterable[str]) -> dict[str, Any]:
    """Give the number and the digest of pictures, from what is known of each in their order, such as its name."""
    lines = [f"{picture}\n".encode("utf-8", "surrogatepass") for picture in pictures]
    return {"pictures": len(lines), "digest": hashlib.blake2b(b"".join(lines), digest_size=16).hexdigest()}
