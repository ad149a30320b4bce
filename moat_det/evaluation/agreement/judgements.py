"""What an inspector, or the model, said of each part: to reject it or not, read from labels, detections or a table."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from moat_det.data.config import load_dataset, reading, split_paths
from moat_det.data.formats.coco import read_coco
from moat_det.data.groups import group_of
from moat_det.data.index import open_index
from moat_det.errors import UserError
from moat_det.evaluation.coco_entries import check_entries, check_references
from moat_det.evaluation.ground_truth import coco_ground_truth
from moat_det.evaluation.inspection.inspection import read_inspection
from moat_det.evaluation.inspection.parts import read_parts
from moat_det.evaluation.inspection.rule import Rule
from moat_det.evaluation.inspection.verdicts import VERDICTS, PartVerdict, Verdict
from moat_det.evaluation.validation_folder import read_validation
from moat_det.messages import shown, some
from moat_det.paths import is_yaml
from moat_det.text import NotTextError, read_text
from moat_det.values import is_number

logger = logging.getLogger(__name__)

_REJECT = {"reject", "rejected", "defective", "bad", "ng", "nok", "fail", "1", "true"}
_PASS = {"pass", "passed", "good", "ok", "io", "0", "false"}
_REVIEW = Verdict.REVIEW.value
_COLUMNS = ("part", "verdict")
# Of the entries of a COCO JSON.
_REQUIRED = {"images": ("id", "file_name"), "annotations": ("image_id", "category_id")}


@dataclass(frozen=True)
class Judgements:
    """The verdicts of one rater in one trial.

    Attributes:
        rater: The name; several trials of one rater share it.
        rejected: By the part's name, whether it was rejected.
        only_rejected: Parts that it does not name were passed: detections without a list of images.
        by: What made verdicts of detections, or of parts that go to review, after "judged"; None where somebody said of
            each to reject or to pass it.
    """

    rater: str
    rejected: Mapping[str, bool]
    only_rejected: bool = False
    by: str | None = None


def read_judgements(rater: str, path: Path, threshold: float | None, group: str | None, split: str) -> Judgements:
    """Read what a rater said of each part.

    Args:
        rater: The name.
        path: A dataset YAML or a COCO JSON with labels: a part with a label that is not ignored was rejected. A folder
            of `moat val`, or the `predictions.json` of `moat detect`: a part with a detection from the threshold on
            was. Or a CSV with the columns `part` and `verdict`, as `moat detect` writes it too. What goes to review is
            rejected.
        threshold: Of the detections. None: the rule of the validation, and the verdicts of `moat detect`, from the
            `verdicts.json` beside its detections; where it has none, `THRESHOLD`.
        group: A regular expression; images of one group are one part (see `read_parts`).
        split: Of a dataset YAML.

    Raises:
        UserError: The file is none of these, damaged, or says something twice.
    """
    if _is_run(path):
        run = read_validation(path)
        rule = Rule.of_inspection(read_inspection(path)) if threshold is None else Rule(threshold)
        parts = read_parts(run.ground_truth, rule.counted(run.ground_truth, run.predictions), group)
        return Judgements(
            rater, dict(zip(parts.names, (parts.scores >= rule.least).tolist(), strict=True)), by=f"at {rule}"
        )
    suffix = path.suffix.lower()
    if suffix == ".csv":
        said = _read_table(path)
        by = _by_verdicts(list(said.values())) if _REVIEW in said.values() else None
        return Judgements(rater, {part: word not in _PASS for part, word in said.items()}, by=by)
    if is_yaml(path) or path.is_dir():
        data = load_dataset(path, split=split)
        images = list(open_index(split_paths(data, split), data["names"], **reading(data)).images())
        return Judgements(rater, _labelled(coco_ground_truth(images, data["names"]), group))
    if suffix != ".json":
        raise UserError(
            f"{path}: give a dataset YAML, a COCO JSON, the folder of a moat val, the predictions.json of a moat "
            "detect, or a CSV with part and verdict"
        )
    found = _detections(path)
    if found is None:
        return Judgements(rater, _labelled(_read_labels(path), group))
    if not all("file_name" in entry for entry in found):
        raise UserError(f"{path}: its detections do not name their files; give the folder of the moat val it is from")
    if threshold is None and all({"part", "verdict"} <= entry.keys() for entry in found):
        verdicts = path.with_name(VERDICTS)
        if found or verdicts.exists():
            judged = _read_verdicts(verdicts, found)
            by = _by_verdicts([each.verdict for each in judged])
            return Judgements(rater, _judged(judged, found, group), by=by)
    rule = Rule() if threshold is None else Rule(threshold)
    names = [str(entry["file_name"]) for entry in found if entry["score"] >= rule.threshold]
    rejected = dict.fromkeys(names if group is None else [_grouped(name, group) for name in names], True)
    return Judgements(rater, rejected, only_rejected=True, by=f"at {rule}")


def group_of_runs(paths: Iterable[Path]) -> str | None:
    """Give what made parts of images in the first of them that is a folder of `moat val`; None where nothing did.

    Raises:
        UserError: Its figures are damaged.
    """
    run = next(filter(_is_run, paths), None)
    return None if run is None else read_inspection(run).get("group")


def _is_run(path: Path) -> bool:
    return path.is_dir() and (path / "predictions.json").exists()


def _judged(verdicts: Sequence[PartVerdict], found: Sequence[Mapping[str, Any]], group: str | None) -> dict[str, bool]:
    """Say of the parts of `moat detect` whether each was rejected: of its own, else of those that `group` makes."""
    # Without a group of its operating point a part is one picture, called as its file, "#2" of it the second. With one
    # the parts are called by it already, and `group` may find less, or nothing, in their names.
    own = any(each.images + each.unreadable > 1 for each in verdicts)
    own |= any(not str(entry["part"]).startswith(str(entry["file_name"])) for entry in found)
    rejected: dict[str, bool] = {}
    for each in verdicts:
        name = each.part if own or group is None else _grouped(each.part, group)
        rejected[name] = rejected.get(name, False) or each.verdict != Verdict.PASS.value
    return rejected


def _by_verdicts(words: Sequence[str]) -> str:
    review = words.count(_REVIEW)
    left = f", {review} of {len(words)} to review, which counts as rejected" if review else ""
    return f"by its verdicts{left}"


def _grouped(name: str, group: str) -> str:
    return group_of(PurePosixPath(name).name, group)


def _read_verdicts(path: Path, found: Sequence[Mapping[str, Any]]) -> list[PartVerdict]:
    """Read what `moat detect` says of all parts: those too that it holds, or passes, without a detection."""
    if not path.exists():
        raise UserError(f"{path}: no such file, and it alone names all parts; copy it there, or give --threshold")
    try:
        verdicts = [PartVerdict(**each) for each in _read_json(path)]
    except TypeError:
        raise UserError(f"{path}: no list of verdicts as moat detect writes it; detect anew") from None
    said = {each.part: each.verdict for each in verdicts}
    if any(said.get(entry["part"]) != entry["verdict"] for entry in found):
        raise UserError(f"{path}: of another detection than the predictions beside it; copy both from one run")
    return verdicts


def _read_labels(path: Path) -> dict[str, Any]:
    """Read a COCO JSON of anybody's; which boxes and classes its labels have does not matter."""
    truth = read_coco(path)
    check_entries(path, truth, _REQUIRED, words=True)
    check_references(path, truth, "image_id", "images")
    return truth


def _labelled(truth: Mapping[str, Any], group: str | None) -> dict[str, bool]:
    parts = read_parts(truth, [], group)
    return dict(zip(parts.names, parts.defective.tolist(), strict=True))


def _detections(path: Path) -> list[dict[str, Any]] | None:
    """Give the detections of a COCO results file; None where it is another JSON."""
    content = _read_json(path)
    if not isinstance(content, list):
        return None
    if not all(isinstance(entry, dict) and is_number(entry.get("score")) for entry in content):
        raise UserError(f"{path}: a list of something else than detections; give the predictions.json of a moat detect")
    return content


def _read_json(path: Path) -> Any:
    try:
        return json.loads(read_text(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError, NotTextError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); export it anew") from None


def _read_table(path: Path) -> dict[str, str]:
    try:
        reader = csv.DictReader(io.StringIO(read_text(path), newline=""), skipinitialspace=True)
        rows = [(reader.line_num, row) for row in reader]
    except (OSError, NotTextError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error}); save it anew as CSV, in UTF-8") from None
    verdicts: dict[str, str] = {}
    for line, row in rows:
        if any(row.get(column) in (None, "") for column in _COLUMNS):
            raise UserError(f"{path}: line {line} has no part or no verdict; write the columns {','.join(_COLUMNS)}")
        name, word = str(row["part"]).strip(), str(row["verdict"]).strip().lower()
        if word not in _REJECT | _PASS | {_REVIEW}:
            raise UserError(f"{path}: line {line} has the verdict {shown(word)}; write pass, review or reject")
        if name in verdicts:
            raise UserError(f"{path}: line {line} has {shown(name)} again; write a second trial into a file of its own")
        verdicts[name] = word
    if not verdicts:
        raise UserError(f"{path}: no row in it; write a line part,verdict and one for each part")
    return verdicts


def of_the_same_parts(judgements: Sequence[Judgements]) -> tuple[list[str], list[Judgements]]:
    """Give the parts that all judged, and the judgements of those; what is left out is logged.

    Names are compared without folders where that leaves them different in every list.

    Raises:
        UserError: There is no such part, or somebody rejects parts alone that nobody else names.
    """
    bare = [{PurePosixPath(name.replace("\\", "/")).name for name in each.rejected} for each in judgements]
    if all(len(names) == len(each.rejected) for names, each in zip(bare, judgements, strict=True)):
        judgements = [
            replace(
                each, rejected={PurePosixPath(k.replace("\\", "/")).name: value for k, value in each.rejected.items()}
            )
            for each in judgements
        ]
    lists = [each for each in judgements if not each.only_rejected]
    if not lists:
        raise UserError(
            "nobody names the parts that were passed: of one rater, give labels or the folder of a moat val"
        )
    common = [name for name in lists[0].rejected if all(name in each.rejected for each in lists)]
    every = list(dict.fromkeys(name for each in judgements for name in each.rejected))
    if not common:
        raise UserError(
            f"no part was judged by all: {_examples(judgements)}; correct the names, or give the --group that makes "
            "them the same parts"
        )
    named = {name for each in lists for name in each.rejected}
    for each in judgements:
        if each.rejected and named.isdisjoint(each.rejected):  # of images, and the others of groups?
            raise UserError(
                f"{each.rater} rejects no part that another names: {_examples(judgements)}; correct the names, give "
                "the --group that makes them the same parts, or have it judge what the others judged"
            )
    if left_out := [name for name in every if name not in set(common)]:
        logger.warning(f"{len(left_out)} parts are left out, as not everybody judged them: {some(left_out, 5)}")
    return common, [
        replace(each, rejected={name: each.rejected.get(name, False) for name in common}) for each in judgements
    ]


def _examples(judgements: Sequence[Judgements]) -> str:
    return ", ".join(f"{each.rater} has {shown(next(iter(each.rejected), 'none'))}" for each in judgements)
