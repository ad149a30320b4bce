"""`moat drift`."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from moat_det.cli.command import Arguments, Command
from moat_det.cli.shared import Grouping, check_threshold
from moat_det.errors import UserError
from moat_det.evaluation.drift import APPEARANCE, drift, drift_table, read_sample
from moat_det.evaluation.drift.change import LEAST_CHANGE, LEVEL
from moat_det.evaluation.drift.plot import plot_drift
from moat_det.evaluation.inspection.inspection import read_inspection
from moat_det.evaluation.inspection.operating_point import OPERATING_POINT, read_operating_point
from moat_det.evaluation.inspection.rule import THRESHOLD, Rule
from moat_det.evaluation.validation_folder import read_validation
from moat_det.files import atomic_write_json, check_writable, claim_folder
from moat_det.options import option

logger = logging.getLogger(__name__)

CHANGED = 5
"""The exit code where something has changed."""


@dataclass(frozen=True)
class DriftOptions:
    """What is compared with what."""

    run: Path = option(..., "folder of the moat val to compare with", metavar="RUN", positional=True)
    source: Path = option(
        ..., "new images: a folder or a list (.txt); or the folder of another moat val", metavar="PATH"
    )
    weights: str | None = option(None, "the checkpoint, where it is not where the validation found it")
    threshold: float | None = option(
        None,
        f"from this score on a detection counts as a defect (default: the run's operating point, else {THRESHOLD})",
    )
    level: float = option(LEVEL, "how often an alarm may come where nothing has changed, of all tests together")
    least_change: float = option(LEAST_CHANGE, "share of the parts that a change must concern to be one")
    device: str | None = option(None, "where the model runs, as in moat val")
    out: Path | None = option(None, "where drift.json and .png go (default: runs/drift, numbered)", metavar="FOLDER")

    def __post_init__(self) -> None:
        """Check the values."""
        check_threshold(self.threshold)
        if not 0 < self.level < 1:
            raise UserError(f"--level {self.level}: must be above 0 and below 1, such as 0.05")
        if not 0 <= self.least_change <= 1:
            raise UserError(f"--least-change {self.least_change}: must be a share from 0 to 1, such as 0.1")


def _run(arguments: Arguments) -> int:
    options, group = arguments.take(DriftOptions), arguments.take(Grouping).group
    read_validation(options.run)
    if not options.source.exists():
        raise UserError(f"--source {options.source}: no such folder or list of images")
    group = read_inspection(options.run).get("group") if group is None else group
    rule = Rule(options.threshold) if options.threshold is not None else _rule(options.run)
    reference = read_sample(options.run, rule, group)
    out = options.out or claim_folder(Path("runs/drift"))
    check_writable(out)
    new = options.source
    if not (options.source / "predictions.json").exists():
        from moat_det.engine.new_images import validate_without_labels

        new = validate_without_labels(options.run, str(options.source), options.weights, out, options.device, group)
    sample = read_sample(new, rule, group)
    for folder in (options.run, new):
        if not (folder / APPEARANCE).exists():
            logger.warning(f"{folder} has no {APPEARANCE}: brightness and sharpness are not compared; validate it anew")
    content = drift(reference, sample, options.level, options.least_change)
    thresholds = {"threshold": rule.threshold, "per_class": dict(rule.per_class)}
    sources = {"run": str(options.run), "source": str(options.source), "group": group, **thresholds}
    atomic_write_json(out / "drift.json", {**content, "sources": sources}, indent=1)
    plot_drift(out / "drift.png", content, reference, sample)
    print(drift_table(content))
    changed = [name for name, found in content["measures"].items() if found["changed"]]
    print(f"\n{'changed: ' + ', '.join(changed) if changed else 'nothing has changed'}; results in {out}")
    return CHANGED if changed else 0


def _rule(run: Path) -> Rule:
    file = run / OPERATING_POINT
    # Where the target was out of reach, there is none.
    return (file.exists() and Rule.of_point(read_operating_point(file))) or Rule()


COMMAND = Command(
    name="drift",
    run=_run,
    options=(DriftOptions, Grouping),
    about="It compares scores, numbers of defects, brightness and sharpness. Exit code: 0 nothing has changed, 5 "
    "something has.",
    usage="RUN --source NEW [--least-change 0.1 --level 0.05 ...]",
    examples=("drift runs/val --source monday/", "drift runs/val --source runs/val-2"),
)
