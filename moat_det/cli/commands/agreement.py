"""`moat agreement`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from moat_det.cli.command import Arguments, Command
from moat_det.cli.shared import Grouping, check_threshold
from moat_det.errors import UserError
from moat_det.evaluation.inspection.rule import THRESHOLD
from moat_det.options import option


@dataclass(frozen=True)
class AgreementOptions:
    """Whose judgements are compared."""

    raters: list[str] = option(
        ...,
        "who judged, each with a dataset YAML, a COCO JSON, a folder of moat val, the predictions.json of moat detect, "
        "or a CSV with part and verdict (pass, review or reject); the same name twice: two trials",
        metavar="NAME=PATH ...",
    )
    reference: str | None = option(None, "the truth about the parts, in the same forms", metavar="PATH")
    threshold: float | None = option(
        None,
        "from this score on a detection rejects its part (default: the rule of the validation, the verdicts of the "
        f"detection, else {THRESHOLD})",
    )
    split: str = option("val", "of a dataset YAML")
    out: Path | None = option(
        None, "where agreement.json and .png go (default: runs/agreement, numbered)", metavar="FOLDER"
    )

    def __post_init__(self) -> None:
        """Check the values."""
        check_threshold(self.threshold)
        for rater in self.raters:
            name, equals, path = rater.partition("=")
            if not (name and equals and path):
                raise UserError(f"--raters {rater}: write NAME=PATH, such as anna=anna.csv")
        if len(self.raters) + (self.reference is not None) < 2:
            raise UserError("--raters: give two or more, or one and a --reference")


def _run(arguments: Arguments) -> None:
    from moat_det.evaluation.agreement import (
        agreement,
        agreement_table,
        group_of_runs,
        of_the_same_parts,
        plot_agreement,
        read_judgements,
    )
    from moat_det.files import atomic_write_json, check_writable, claim_folder

    options, group = arguments.take(AgreementOptions), arguments.take(Grouping).group
    check_writable(options.out or Path("runs"))  # before the minutes that it takes
    named = [rater.partition("=")[::2] for rater in options.raters]
    if options.reference is not None:
        named.append(("the reference", options.reference))
    group = group_of_runs(Path(path) for _, path in named) if group is None else group
    read = [read_judgements(name, Path(path), options.threshold, group, options.split) for name, path in named]
    _, judged = of_the_same_parts(read)
    reference = judged.pop() if options.reference is not None else None
    content = agreement(judged, reference)
    print(agreement_table(content))
    if group is not None:
        print(f"images grouped by {group}")
    for each in read:
        if each.by is not None:
            print(f"{each.rater}: judged {each.by}")
    out = options.out or claim_folder(Path("runs/agreement"))
    judged_by = [each.by for each in read]
    sources = {"raters": options.raters, "reference_source": options.reference, "judged": judged_by, "group": group}
    atomic_write_json(out / "agreement.json", {**content, "sources": sources}, indent=1)
    plot_agreement(out / "agreement.png", content)
    print(f"\nResults in {out}")


COMMAND = Command(
    name="agreement",
    run=_run,
    options=(AgreementOptions, Grouping),
    about="Attribute agreement, as in gauge studies: within, between, and against the reference. A part is rejected "
    "where it has a label, or a detection from the threshold on; what goes to review is not passed.",
    examples=(
        "agreement --raters anna=anna.csv ben=ben.csv model=runs/val --reference truth.json",
        "agreement --raters anna=first.csv anna=second.csv ben=ben.csv --reference truth.csv",
    ),
)
