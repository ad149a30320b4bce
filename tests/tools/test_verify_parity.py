from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tools.verify_parity import main

CASE = "tiny_moat_0/small_b2_96x160_full"


@pytest.fixture
def golden(shared: Path, tmp_path: Path) -> Path:
    """A folder of one small case and its checkpoint, ours to change."""
    (tmp_path / "tiny_moat_0").mkdir()
    for name in (f"{CASE}.npz", "tiny_moat_0/tiny_moat_0.tar.gz"):
        shutil.copy(shared / "golden" / name, tmp_path / name)
    return tmp_path


def change(golden: Path, name: str, by: float) -> None:
    """Shift one value of an official output."""
    path = golden / f"{CASE}.npz"
    arrays = dict(np.load(path))
    arrays[name] = arrays[name].copy()
    arrays[name].flat[0] += by
    np.savez(path, **arrays)


def test_a_case_that_passes(golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--golden", str(golden), "--json", str(tmp_path / "figures.json")]) == 0
    header, _, row, last = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in header.split("|")][1:-1] == [
        *("case", "stage1", "stage2", "stage3", "stage4", "stage5", "logits", "statistics", "result")
    ]
    cells = [cell.strip() for cell in row.split("|")][1:-1]
    assert (cells[0], cells[-1]) == (CASE, "pass")
    absolute, relative = map(float, cells[5].split())
    assert 0 < relative < absolute < 1e-3
    assert last.startswith("PASS: largest difference ")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["passed"] is True
    assert figures["cases"][CASE]["stage5"]["relative"] == pytest.approx(relative, rel=0.1)


@pytest.mark.parametrize("name", ["stage5", "stage2_chmean"])
def test_a_small_mistake_fails(golden: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    with np.load(golden / f"{CASE}.npz") as arrays:
        by = 3e-4 * arrays[name.removesuffix("_chmean")].std()
    change(golden, name, by)
    assert main(["--golden", str(golden)]) == 1
    row, last = capsys.readouterr().out.splitlines()[2:]
    assert row.endswith("| FAIL |")
    assert last.startswith("FAIL: largest difference 3.0e-04 ")


def test_what_is_no_number_fails(golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(golden, "stage3", float("nan"))
    assert main(["--golden", str(golden), "--json", str(tmp_path / "figures.json")]) == 1
    assert "FAIL: largest difference inf" in capsys.readouterr().out
    assert json.loads((tmp_path / "figures.json").read_text())["cases"][CASE]["stage3"]["absolute"] is None


@pytest.mark.parametrize("harm", ["no folder", "no case", "cut off", "no archive", "another file"])
def test_what_is_missing_or_damaged_is_named(golden: Path, capsys: pytest.CaptureFixture[str], harm: str) -> None:
    case, archive = golden / f"{CASE}.npz", golden / "tiny_moat_0/tiny_moat_0.tar.gz"
    named = case
    if harm == "no folder":
        golden = named = golden / "absent"
    elif harm == "no case":
        case.unlink()
        named = golden
    elif harm == "cut off":
        case.write_bytes(case.read_bytes()[:2000])
    elif harm == "another file":
        np.savez(case, image=np.zeros(3))
    else:
        archive.unlink()
        named = archive
    assert main(["--golden", str(golden)]) == 2
    error = capsys.readouterr().err
    assert str(named) in error
    assert error.count("\n") == 1
