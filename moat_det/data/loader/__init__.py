"""What feeds a training: workers, decoding at reduced scale, the cache on the disk, stand-ins for broken images."""

from __future__ import annotations

# Before any module here imports the engine.
import moat_det.offline  # noqa: F401
