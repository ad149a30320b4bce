from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moat_det.benchmark.accuracy.costs import Cost
from moat_det.benchmark.accuracy.plot import plot
from moat_det.benchmark.accuracy.report import Entry, markdown, records, write
from moat_det.benchmark.accuracy.sets import BenchSet
from moat_det.evaluation import STATS


def made_set(name: str, test_from: str = "val") -> BenchSet:
    counts = {"train": 90, "val": 10, "test": 40}
    identity: dict[str, dict[str, int | str]] = {split: {"images": number} for split, number in counts.items()}
    return BenchSet(name, Path(name) / "data.yaml", identity, test_from, (64, 64))


def result(ap: float) -> dict[str, Any]:
    return {**dict.fromkeys(STATS, 0.0), "AP": ap, "AP50": 2 * ap}


COST = Cost(5_006_524, 3_310_000_000, seconds=0.0123, memory_mib=45.6, case={"device": "cpu"}, threads=1)
BUSY = Cost(2_600_000, 800_000_000, seconds=0.004, memory_mib=20.0, case={"device": "cpu"}, threads=1, busy=True)
ENTRIES = [
    Entry("yolo11n", "steel", None, {0: result(0.2), 1: result(0.21)}, BUSY),
    Entry("tiny_moat0", "steel", None, {0: result(0.30), 1: result(0.34)}, COST),
    Entry("yolo11s", "steel", None, {0: result(0.25), 1: None}, None),
]


def test_the_table_of_a_set() -> None:
    text = markdown(ENTRIES, [made_set("steel")])
    assert text.startswith(
        "**steel**: the data's `val`, 40 images, is the test; of its `train`, 90 images train and 10 (10%) choose the "
        "checkpoint\n"
    )
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]
    assert rows[2:] == [
        [
            *("tiny_moat0", "whole", "2 of 2", "0.320", "0.300 to 0.340", "0.640", "0.600 to 0.680"),
            *("5.0 M", "3.3 G", "12.3 ms", "46 MiB"),
        ],
        ["yolo11s", "whole", "1 of 2", "0.250", "0.250 to 0.250", "0.500", "0.500 to 0.500", "-", "-", "-", "-"],
        [
            *("yolo11n", "whole", "2 of 2", "0.205", "0.200 to 0.210", "0.410", "0.400 to 0.420"),
            *("2.6 M", "0.8 G", "~4.0 ms", "20 MiB"),
        ],
    ]
    assert "Not trained or not tested yet, model (seed): yolo11s (1)." in text
    assert "~: other work ran meanwhile" in text
    other = markdown([Entry("m", "own", 64, {0: None}, None)], [made_set("own", "test")])
    assert "the data's `test`, 40 images, is the test; 90 images train, 10 choose the checkpoint" in other
    assert "| m     | tiles of 64 | 0 of 1 | -  " in other
    assert "~:" not in other


def test_who_trained_in_which_number_format_is_said_where_it_differs() -> None:
    both = Entry("a", "own", None, {0: result(0.4), 1: result(0.4)}, None, {0: "bfloat16", 1: "float32"})
    one = Entry("b", "own", None, {0: result(0.3), 1: None}, None, {0: "float32"})
    text = markdown([both, one], [made_set("own")])
    assert "Trained in bfloat16: a (0); in float32: a (1), b (0)." in text
    assert "float32" not in markdown([one], [made_set("own")])
    assert [row["dtype"] for row in records([both, one])] == ["bfloat16", "float32", "float32", None]


def test_a_figure_without_objects_counts_for_nothing() -> None:
    assert Entry("m", "s", None, {0: result(-1.0), 1: result(0.5)}, None).values("AP") == [0.5]


def test_the_files_hold_the_same_figures(tmp_path: Path) -> None:
    text = write(tmp_path, ENTRIES, [made_set("steel")], {"epochs": 3}, ["--epochs", "3"])
    assert (tmp_path / "bench.md").read_text() == text
    with (tmp_path / "bench.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(records(ENTRIES)) == 6
    assert [row["AP"] for row in rows if row["model"] == "yolo11s"] == ["0.25", ""]
    content = json.loads((tmp_path / "bench.json").read_text())
    assert content["recipe"] == {"epochs": 3}
    ours = next(row for row in content["models"] if row["model"] == "tiny_moat0")
    assert ours["AP"] == {
        "mean": pytest.approx(0.32),
        "std": pytest.approx(0.02 * 2**0.5),
        "lowest": 0.3,
        "highest": 0.34,
        "seeds": 2,
    }
    assert ours["cost"]["seconds"] == 0.0123
    assert content["sets"][0]["identity"]["test"] == {"images": 40}


def test_the_plot_has_a_panel_for_each_set_and_a_point_for_each_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[str, str]] = []
    annotate = Axes.annotate

    def note(self: Axes, text: str, *args: Any, **kwargs: Any) -> Any:
        drawn.append((self.get_title(), text))
        return annotate(self, text, *args, **kwargs)

    monkeypatch.setattr(Axes, "annotate", note)
    ticks: list[list[str]] = []
    savefig = Figure.savefig

    def look(self: Figure, *args: Any, **kwargs: Any) -> None:
        savefig(self, *args, **kwargs)
        for axes in self.axes:
            low, high = axes.get_xlim()
            ticks.append([text.get_text() for text in axes.get_xticklabels() if low < text.get_position()[0] < high])

    monkeypatch.setattr(Figure, "savefig", look)
    tiled = Entry("tiny_moat0", "boards", 64, {0: result(0.4)}, COST)
    plot(tmp_path / "bench.png", [*ENTRIES, tiled])
    assert sorted(text for _, text in drawn) == ["tiny_moat0", "tiny_moat0, tiles of 64", "yolo11n"]
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert all(len(labels) >= 2 for labels in ticks), "an axis without numbers"
    plot(tmp_path / "none.png", [ENTRIES[2]])
    assert not (tmp_path / "none.png").exists()
