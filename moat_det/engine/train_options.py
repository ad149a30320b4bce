"""Our own options of a training, apart from the engine's arguments."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from moat_det.files import atomic_write_text


@dataclass(frozen=True)
class TrainOptions:
    """Our own options of a training; the engine's `args` refuse keys that it does not know.

    Attributes:
        config: The model's configuration, as `build_model` takes it.
        weights: Checkpoint to start from, or None.
        nbs_follows_batch: Step the optimizer after every batch. The engine's nominal batch of 64 leaves two steps an
            epoch on a hundred images.
    """

    config: dict[str, Any]
    weights: str | None = None
    nbs_follows_batch: bool = False

    def save(self, path: Path) -> None:
        """Write to `path` as YAML, beside the engine's `args.yaml`."""
        atomic_write_text(path, yaml.safe_dump(asdict(self), sort_keys=False))
