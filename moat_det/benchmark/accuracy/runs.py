"""The runs of a comparison: what each trains and tests, where it lies, and how far it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from moat_det.benchmark.accuracy.sets import BenchSet
from moat_det.benchmark.cases import config_name
from moat_det.detector.build import find_config
from moat_det.detector.peers import is_peer
from moat_det.detector.precision import compute_dtype
from moat_det.engine.checkpoint import load_checkpoint
from moat_det.engine.device import choose_device, is_mixed
from moat_det.files import sha256
from moat_det.paths import is_yaml
from moat_det.run_folder import best_checkpoint, last_checkpoint

WHERE_IT_RUNS = frozenset({"device", "workers", "cache", "plots", "verbose", "log", "save_minutes"})
"""Arguments that make no other run."""

_FILES = frozenset({"weights", "augmentation"})  # arguments that may name a file, which may be written anew


@dataclass(frozen=True)
class Run:
    """The training of a model on a set with a seed, and its tests.

    Its folder is named by a digest of all that makes it what it is: where the folder is finished, so is this run, and
    a run with another setting has a folder of its own.

    Attributes:
        model: As the user wrote it: a backbone, a model YAML, or a model of the engine's.
        set: What it learns and is tested on.
        seed: Of the training.
        arguments: The recipe: the engine's training arguments that all runs share.
        root: The folder of all runs.
    """

    model: str
    set: BenchSet
    seed: int
    arguments: Mapping[str, Any]
    root: Path

    @property
    def label(self) -> str:
        """What it is called in messages."""
        return f"{short_name(self.model)} on {self.set.name}, seed {self.seed}"

    @property
    def settings(self) -> dict[str, Any]:
        """What makes the run what it is, in types of JSON."""
        config = {name: value for name, value in find_config(config_name(self.model)).items() if name != "yaml_file"}
        recipe = {
            name: _with_content(value) if name in _FILES else value
            for name, value in self.arguments.items()
            if name not in WHERE_IT_RUNS
        }
        return {
            "model": short_name(self.model),
            "config": config,
            "set": self.set.name,
            "data": {split: self.set.identity[split] for split in ("train", "val")},
            "arguments": dict(sorted(recipe.items())),
            "seed": self.seed,
        }

    @property
    def folder(self) -> Path:
        """Where it is trained."""
        return self.root / self.set.name / f"{short_name(self.model)}-seed{self.seed}-{digest(self.settings)}"

    @property
    def last(self) -> Path:
        """The checkpoint of the last epoch."""
        return last_checkpoint(self.folder)

    @property
    def best(self) -> Path:
        """The checkpoint of the epoch that was best on `val`."""
        return best_checkpoint(self.folder)

    @property
    def state(self) -> str:
        """How far the training is: "new", "cut" where an epoch of it is done, or "trained"."""
        if not self.last.exists():
            return "new"
        return "cut" if load_checkpoint(self.last).training is not None else "trained"

    @property
    def dtype(self) -> str | None:
        """The number format of its training on this machine, "bfloat16" or "float32"; None without a checkpoint."""
        return self.dtype_with(load_checkpoint(self.last).args["amp"], training=True) if self.last.exists() else None

    def dtype_with(self, amp: bool | str, *, training: bool) -> str:
        """Give the number format that its model computes in here; those of the engine's know float32 alone.

        Args:
            amp: That of its checkpoint.
            training: Or in detection.
        """
        if is_peer(find_config(config_name(self.model))):
            return "float32"
        dtype = compute_dtype(choose_device(self.arguments.get("device")), is_mixed(amp), training)
        return str(dtype).removeprefix("torch.")

    def test_folder(self, tiles: int | None) -> Path:
        """Give the folder of its test, on whole images or in tiles of so many pixels."""
        how = "test" if tiles is None else f"test-sliced-{tiles}"
        return self.folder / f"{how}-{digest(self.set.identity['test'])}"

    def metrics(self, tiles: int | None) -> dict[str, Any] | None:
        """Give the figures of its test; None where it is not tested yet."""
        file = self.test_folder(tiles) / "metrics.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def plan(
    models: Sequence[str], sets: Sequence[BenchSet], seeds: Sequence[int], recipe: Mapping[str, Any], root: Path
) -> list[Run]:
    """Give the runs in their order: all models on all sets with the first seed, then with the next.

    Raises:
        UserError: There is no such model.
    """
    for model in models:
        find_config(config_name(model))  # a mistake in the last one shall not wait for the others
    return [Run(model, each, seed, recipe, root) for seed in seeds for each in sets for model in models]


def _with_content(value: Any) -> Any:
    """Give an argument, with what tells its content from another where it names a file."""
    path = Path(str(value))
    if not path.is_file():
        return value
    facts = path.stat()
    return {"file": value, "sha256": _sha256(path, facts.st_size, facts.st_mtime_ns)}


@cache  # settings are asked for again and again
def _sha256(path: Path, size: int, changed: int) -> str:
    return sha256(path)


def short_name(model: str) -> str:
    """Give what a model is called in tables and folders: its name, or that of its YAML."""
    path = Path(model)
    return path.stem if is_yaml(path) else path.name


def digest(content: Any) -> str:
    """Give eight hexadecimal digits that tell content of JSON's types from other content."""
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=4).hexdigest()
