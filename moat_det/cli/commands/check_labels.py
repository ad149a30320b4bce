"""`moat check-labels`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from moat_det.cli.command import Arguments, Command
from moat_det.cli.commands import train
from moat_det.cli.shared import Grouping
from moat_det.data.config import SPLITS, DatasetConfig, load_dataset, reading, split_paths
from moat_det.data.formats.labelled_image import LabelledImage
from moat_det.data.images.find import is_there
from moat_det.data.index import SplitIndex, open_index
from moat_det.demo import dataset_source
from moat_det.detection.pictures import write_picture
from moat_det.engine.label_folds import train_folds
from moat_det.engine.model import DEFAULT_BACKBONE
from moat_det.errors import UserError
from moat_det.evaluation.errors import suspicious_labels
from moat_det.evaluation.errors.find_files import find_files
from moat_det.evaluation.errors.join_runs import join_runs
from moat_det.evaluation.errors.pictures import draw_suspicious
from moat_det.evaluation.errors.suspicious import SUSPICIONS
from moat_det.evaluation.inspection.settings import SETTINGS
from moat_det.evaluation.validation_folder import Validation, read_json, read_validation
from moat_det.files import atomic_write_json, claim_folder
from moat_det.options import option
from moat_det.paths import PROJECT
from moat_det.report.pictures import sheet

_COLUMNS = 3
# Options that need no training.
_WITHOUT_TRAINING = {"data", "runs", "top", "project", "name", "exist_ok", "debug"}


@dataclass(frozen=True)
class LabelOptions:
    """By what the labels are checked, and what is shown."""

    runs: list[str] | None = option(
        None,
        "folders of moat val, of one model or of several, whose detections to compare with the labels, instead of "
        "training two models",
        metavar="FOLDER ...",
    )
    top: int = option(50, "labels on the sheet of pictures, the most suspicious", metavar="N")

    def __post_init__(self) -> None:
        """Check the values."""
        if self.top < 1:
            raise UserError(f"--top {self.top}: give 1 or more")


def _check(given: Mapping[str, Any]) -> None:
    if not given.get("data"):
        raise UserError("moat check-labels needs --data, the dataset YAML whose labels to check")
    if given.get("resume"):
        raise UserError("--resume: moat check-labels begins anew; --runs takes the validations that a run left")
    if given.get("runs") and (odd := sorted(given.keys() - _WITHOUT_TRAINING)):
        raise UserError(f"--{odd[0].replace('_', '-')}: with --runs nothing is trained; leave it out")
    assert train.COMMAND.check
    train.COMMAND.check(given)


def _run(arguments: Arguments) -> None:
    options, group = arguments.take(LabelOptions), arguments.take(Grouping).group
    data = load_dataset(dataset_source(arguments.engine["data"]))
    splits = _read_splits(data)
    place = [arguments.engine.pop(name, None) for name in ("project", "name", "exist_ok")]
    runs = [read_validation(Path(run)) for run in options.runs or ()]
    files: dict[str, LabelledImage] = {}
    if runs:  # before a folder is made
        join_runs(runs)
        for run in runs:
            files |= find_files(run.ground_truth["images"], _validated(run, splits))
    folder = claim_folder(Path(place[0] or PROJECT, place[1] or "check-labels"), bool(place[2]))
    if not runs:
        images = [image for split in ("train", "val") for image in splits[split].images()]
        chosen = arguments.take(train.ModelChoice).backbone
        model = arguments.engine.pop("model", None) or chosen or DEFAULT_BACKBONE
        halves = train_folds(model, data, images, folder, group, {**arguments.engine, **arguments.own})
        runs = [read_validation(half) for half in halves]
        files = find_files(runs[0].ground_truth["images"], {"train and val": images})
    truth, models = join_runs(runs)
    ranked = suspicious_labels(truth, models)
    atomic_write_json(folder / "suspicious_labels.json", {"models": len(models), "labels": ranked}, indent=1)
    shown = ranked[: options.top]
    paths = {image["id"]: files[str(image["file_name"])].path for image in truth["images"]}
    pictures = draw_suspicious(shown, paths, truth, models, data["intensity"], data["channels"])
    _write_sheet(folder / "suspicious_labels", pictures)
    _report(ranked, len(truth["annotations"]), options.top)
    print(f"\nall of them in {folder / 'suspicious_labels.json'}, the first {len(pictures)} as pictures beside it")


def _read_splits(data: DatasetConfig) -> dict[str, SplitIndex]:
    splits: dict[str, SplitIndex] = {}
    for split in SPLITS:
        paths = split_paths(data, split)
        if paths and all(map(is_there, paths)):  # a test split need not be there
            splits[split] = open_index(paths, data["names"], **reading(data))
    return splits


def _validated(run: Validation, splits: Mapping[str, SplitIndex]) -> dict[str, list[LabelledImage]]:
    """Give the split that a validation says it is of; all where its labels have been mended since."""
    file = run.folder / SETTINGS
    settings = read_json(file, run.folder) if file.exists() else {}
    digest = settings.get("split") if isinstance(settings, dict) else None
    of_digest = [name for name, index in splits.items() if index.identity()["digest"] == digest]
    return {name: list(splits[name].images()) for name in of_digest or splits}


def _write_sheet(path: Path, pictures: list[np.ndarray]) -> None:
    for suffix in (".jpg", ".png"):  # of an earlier run, whose labels were others
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    if pictures:
        drawn = sheet(pictures, min(_COLUMNS, len(pictures)), (pictures[0].shape[0], pictures[0].shape[1]))
        write_picture(path, cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))


def _report(ranked: list[dict[str, Any]], labels: int, top: int) -> None:
    print(f"{len(ranked)} suspicions about {labels} labels; look at the first ones, they are ranked")
    for kind, text in SUSPICIONS.items():
        count = sum(entry["kind"] == kind for entry in ranked[:top])
        print(f"{count:>6} of the first {min(top, len(ranked))}: {text}")
    width = max([len(str(entry["file_name"])) for entry in ranked[:10]], default=0)
    for entry in ranked[:10]:
        other = f", detected: {entry['other_class']}" if entry["other_class"] else ""
        print(
            f"{entry['rank']:>4} {entry['suspicion']:.2f} {entry['file_name']:<{width}} {entry['kind']:<11} "
            f"{entry['class']}{other}"
        )


COMMAND = Command(
    name="check-labels",
    run=_run,
    check=_check,
    options=(LabelOptions, Grouping, *train.COMMAND.options),
    about="It trains two models, each on one half of train and val, lets both detect in all images, and ranks the "
    "labels that speak against what they detect. It takes every option of moat train. With --runs it trains nothing. "
    "The labels stay as they are.",
    usage="--data DATA [--backbone tiny_moat2 --epochs 100 ...] [--runs FOLDER ...] [--top N] [--group REGEX]",
    examples=(
        "check-labels --data defects.yaml --epochs 60",
        "check-labels --data defects.yaml --runs runs/val",
    ),
    engine=train.COMMAND.engine,
)
