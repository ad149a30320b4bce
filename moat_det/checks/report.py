"""The result of a check in words, and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moat_det.checks.faults import KINDS, Severity
from moat_det.checks.recommend import command
from moat_det.checks.run import Check
from moat_det.errors import UserError

_SHOWN = 3
_OWN = {"report.json": '"recommendations"', "report.html": "<title>Check of "}  # the files, by what only ours have


def check_replaceable(folder: Path) -> None:
    """Raise `UserError` where a report that is not of a check, such as that of a validation, would be overwritten."""
    for name, mark in _OWN.items():
        file = folder / name
        if file.exists() and mark not in file.read_text(encoding="utf-8", errors="replace"):
            raise UserError(f"--out {folder}: its {name} is not that of a check, and is kept: choose another folder")


def summary_rows(check: Check) -> list[tuple[str, int, int, int, int, int]]:
    """Per split: its name, images, unreadable ones, those with boxes, good parts, boxes."""
    rows = []
    for split, samples in check.samples.items():
        readable = [image for sample in samples if (image := sample.labelled)]
        labelled = sum(not image.ignored.all() for image in readable)
        unreadable = len(samples) - len(readable)
        boxes = int(check.counts[split].sum())
        rows.append((split, len(samples), unreadable, labelled, len(readable) - labelled, boxes))
    return rows


def text_report(check: Check) -> str:
    """Write the report for the terminal."""
    lines = [check.data["yaml_file"], "", *_table(check), *([""] if check.faults else [])]
    for kind, faults in check.by_kind().items():
        splits = Counter(fault.split for fault in faults)
        where = ", ".join(f"{split} {count}" for split, count in splits.items())
        name = KINDS[kind].severity.name.lower()
        lines.append(f"{name:7s} {len(faults):6d}  {KINDS[kind].title} ({where})")
        lines.append(f"{'':16}-> {KINDS[kind].advice}")
        lines += [f"{'':16}{fault.place}" for fault in faults[:_SHOWN]]
        if len(faults) > _SHOWN:
            lines.append(f"{'':16}... and {len(faults) - _SHOWN} more")
    counts = Counter(fault.severity for fault in check.faults)
    lines += [
        "",
        ", ".join(
            f"{counts[level]} {level.name.lower()}{'s' * (counts[level] != 1)}"
            for level in sorted(Severity, reverse=True)
        ),
    ]
    if check.recommendations:
        lines += ["", "Recommended:"]
        lines += [f"  {item.topic}: {item.advice}. {item.reason}" for item in check.recommendations]
        lines += ["", f"  {command(check.data, check.recommendations)}"]
    return printable("\n".join(lines))


def printable(text: str) -> str:
    """Give a text with a question mark for what UTF-8 does not have, such as a file name in another encoding."""
    return text.encode("utf-8", "replace").decode()


def json_report(check: Check) -> dict[str, Any]:
    """Write the report for machines, of plain types."""
    names = check.data["names"]
    return {
        "data": check.data["yaml_file"],
        "severity": check.severity.name.lower(),
        "exit_code": int(check.severity),
        "splits": {
            split: {
                "images": images,
                "unreadable": unreadable,
                "labelled": labelled,
                "good_parts": good,
                "boxes": boxes,
                "classes": {names[cls]: int(n) for cls, n in enumerate(check.counts[split].tolist())},
            }
            for split, images, unreadable, labelled, good, boxes in summary_rows(check)
        },
        "kinds": {
            kind: {"severity": KINDS[kind].severity.name.lower(), "count": len(faults), "advice": KINDS[kind].advice}
            for kind, faults in check.by_kind().items()
        },
        "faults": [
            {
                "kind": fault.kind,
                "split": fault.split,
                "file": fault.file,
                "detail": fault.detail,
                "image": fault.image,
                "boxes": [list(box) for box in fault.boxes],
                "other": fault.other,
            }
            for fault in check.faults
        ],
        "recommendations": [
            {"topic": item.topic, "advice": item.advice, "reason": item.reason, "options": list(item.options)}
            for item in check.recommendations
        ],
        "command": command(check.data, check.recommendations),
    }


def _table(check: Check) -> Iterator[str]:
    yield f"{'split':8s}{'images':>8s}{'unreadable':>12s}{'with boxes':>12s}{'good parts':>12s}{'boxes':>8s}"
    for split, images, unreadable, labelled, good, boxes in summary_rows(check):
        yield f"{split:8s}{images:8d}{unreadable:12d}{labelled:12d}{good:12d}{boxes:8d}"
    yield ""
    width = max(len("class"), *(len(name[:30]) for name in check.data["names"].values())) + 2
    yield f"{'class':{width}s}" + "".join(f"{split:>8s}" for split in check.counts)
    for cls, name in check.data["names"].items():
        yield f"{name[:30]:{width}s}" + "".join(f"{found[cls]:8d}" for found in check.counts.values())
