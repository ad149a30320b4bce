"""`moat compare`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from moat_det.cli.command import Arguments, Command
from moat_det.cli.shared import Grouping, check_threshold
from moat_det.options import option


@dataclass(frozen=True)
class CompareOptions:
    """What to compare, and where to write."""

    runs: list[str] = option(
        ..., "folders of moat val; the others are compared with the first", metavar="RUN", positional=True
    )
    threshold: float | None = option(None, "one for all, instead of that of each validation")
    out: Path | None = option(
        None, "where compare.json and compare.html go (default: runs/compare, numbered)", metavar="FOLDER"
    )

    def __post_init__(self) -> None:
        """Check the values."""
        check_threshold(self.threshold)


def _run(arguments: Arguments) -> None:
    from moat_det.evaluation.compare import compare, comparison_table
    from moat_det.evaluation.page.compare_page import compare_page
    from moat_det.evaluation.validation_folder import read_validation
    from moat_det.files import atomic_write_json, atomic_write_text, check_writable, claim_folder

    options, group = arguments.take(CompareOptions), arguments.take(Grouping).group
    check_writable(options.out or Path("runs"))  # before the minutes that it takes
    comparison = compare([read_validation(Path(run)) for run in options.runs], group, options.threshold)
    print(comparison_table(comparison))
    out = options.out or claim_folder(Path("runs/compare"))
    atomic_write_json(out / "compare.json", comparison.to_json_dict(), indent=1)
    atomic_write_text(out / "compare.html", compare_page(comparison))
    print(f"\n{out / 'compare.html'}")


COMMAND = Command(
    name="compare",
    run=_run,
    options=(CompareOptions, Grouping),
    about="Each figure with the interval of its difference, by paired bootstrap over the parts: where it leaves out 0, "
    "a run is better or worse, else they cannot be told apart.",
    usage="RUN RUN ... [--threshold 0.3]",
    examples=("compare runs/val runs/val-2", "compare runs/val runs/val-2 --threshold 0.3 --out comparison"),
)
