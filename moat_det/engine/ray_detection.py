"""Detection by actors of Ray: each has the detector, one that dies is started again, and what is done stays done."""

from __future__ import annotations

import logging
import os
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from moat_det.detection.classes import check_classes
from moat_det.detection.detections import Detections
from moat_det.detection.output_names import OutputNames
from moat_det.detection.shards import Shard, ShardRecord
from moat_det.detection.source_files import list_pictures, source_root
from moat_det.detection.thresholds import Thresholds
from moat_det.engine.checkpoint import weights_digest
from moat_det.engine.device import choose_device
from moat_det.engine.inference_options import DetectionOptions
from moat_det.engine.model import MOAT
from moat_det.engine.ray_cluster import check_installed, cluster
from moat_det.engine.sources.in_memory import NoImageError
from moat_det.progress import progress
from moat_det.run_folder import check_apart, claim_run

logger = logging.getLogger(__name__)

_ALL = Shard(1, 1)
_BLOCK = 256  # images that an actor takes at a time; of one that dies as many are done again
_NO_RESULT = frozenset({"batch", "device", "name", "project", "verbose", "exist_ok"})  # arguments that change none


def detect(model: MOAT, source: str, arguments: Mapping[str, Any], actors: int) -> tuple[int, int, Path]:
    """Detect in the images of a source, into a folder that the same call goes on with.

    Args:
        model: As it was loaded from a checkpoint.
        source: Image, folder, glob or list file.
        arguments: Of `MOAT.predict`, and `project` and `name`.
        actors: How many; each has a core, or a GPU where there is one.

    Returns:
        The detections and the images of this call, and the folder.

    Raises:
        UserError: An argument is not in order, the folder is of another detection, or no image can be read.
    """
    check_installed("data")
    _check(model, arguments)
    images = list_pictures(source)
    names = OutputNames(source_root(source, images))
    place = Namespace(project=arguments.get("project"), name=arguments.get("name"), mode="detect", exist_ok=True)
    folder = claim_run(place)
    check_apart(folder, images)
    given = {name: value for name, value in arguments.items() if name not in _NO_RESULT}
    settings = {"source": os.path.abspath(source), "weights": weights_digest(model.model), **given}
    record = ShardRecord(folder, settings)
    try:
        left = record.left(_ALL, images, names)
        predict = {name: value for name, value in arguments.items() if name not in {"project", "name", "exist_ok"}}
        found = _work(os.path.abspath(str(model.ckpt_path)), left, predict, actors) if left else iter(())
        detections, done = _write(record, names, progress(found, "detecting", len(left), unit="image"))
    finally:
        record.close()
    if len(left) > done:
        logger.warning(f"{len(left) - done} unreadable file(s) were skipped; the same command tries them again")
    return detections, done, folder


def _check(model: MOAT, arguments: Mapping[str, Any]) -> None:
    """Raise UserError here, where the folder is not fixed to an argument yet, for what actors would refuse."""
    choose_device(arguments.get("device"))
    check_classes(arguments.get("classes"), model.names)
    Thresholds.read(arguments.get("conf")).of_classes(model.names)
    DetectionOptions.take(dict(arguments))


def _write(record: ShardRecord, names: OutputNames, found: Iterable[tuple[str, Detections]]) -> tuple[int, int]:
    """Write what comes, each image once; gives the detections and the images."""
    seen: set[str] = set()
    detections = 0
    for path, each in found:
        if path not in seen:
            seen.add(path)
            record.add(each, path, names)
            detections += len(each)
    return detections, len(seen)


def _work(
    weights: str, images: Sequence[str], arguments: dict[str, Any], actors: int
) -> Iterator[tuple[str, Detections]]:
    """Give what is found in each image, in the order in which actors are done with them."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # there is one of ours
    context.execution_options.preserve_order = False
    on_gpu = choose_device(arguments.get("device")).type == "cuda"
    with cluster(actors + 1):  # one core reads
        blocks = max(actors, -(-len(images) // _BLOCK))
        found = ray.data.from_items([{"path": path} for path in images], override_num_blocks=blocks).map_batches(
            Actor,
            fn_constructor_args=(weights, arguments),
            batch_size=_BLOCK,
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=1,
            num_gpus=1 if on_gpu else 0,
        )
        for row in found.iter_rows():
            yield row["path"], row["found"]


class Actor:
    """Has the detector, and detects in blocks of images.

    Args:
        weights: The checkpoint.
        arguments: Of `MOAT.predict`.
    """

    def __init__(self, weights: str, arguments: Mapping[str, Any]) -> None:
        os.environ["OMP_NUM_THREADS"] = "1"  # the others have the other cores
        self._model = MOAT(weights)
        self._arguments = {**arguments, "save": False, "verbose": False, "stream": True}

    def __call__(self, block: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Detect in the images "path" of a block; gives the path and what was found of those that can be read."""
        paths: list[str] = []
        found: list[Detections] = []
        with suppress(NoImageError):
            for result in self._model.predict([str(path) for path in block["path"]], **self._arguments):
                paths.append(result.path)
                found.append(result.detections())
        column = np.empty(len(found), dtype=object)
        column[:] = found
        return {"path": np.array(paths, dtype=object), "found": column}
