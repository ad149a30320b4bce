from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from helpers.dirt import write_clean, write_dirty
from moat_det.cli.command import load_command
from moat_det.cli.main import run
from moat_det.cli.parser import parse


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_clean_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_clean(tmp_path / "parts")
    assert run("check", ["--data", str(file)]) == 0
    assert run("check", ["--data", str(file)]) == 0
    assert "0 errors, 0 warnings, 0 notes" in capsys.readouterr().out
    assert {path.parent.name for path in (tmp_path / "runs/check").glob("*/report.html")} == {"parts", "parts-2"}


def test_warnings_alone(tmp_path: Path) -> None:
    file = write_clean(tmp_path / "parts")
    with (tmp_path / "parts/labels/train/part001.txt").open("a") as out:
        out.write("0 0.5 0.5 0 0.1\n")
    assert run("check", ["--data", str(file)]) == 1


def test_reports_of_a_dirty_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, planted = write_dirty(tmp_path / "parts")
    assert run("check", ["--data", str(file), "--out", "report", "--group", r"^(part\d+)", "--fix", "fixed"]) == 2
    text = capsys.readouterr().out
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert report["exit_code"] == 2
    kinds = {kind for kind, _ in planted}
    assert set(report["kinds"]) == kinds
    assert sum(kind["count"] for kind in report["kinds"].values()) == planted.total() == len(report["faults"])
    assert "part023.png" in text
    assert (tmp_path / "fixed/data.yaml").is_file()
    assert len((tmp_path / "fixed/changes.txt").read_text().splitlines()) > 20
    page = (tmp_path / "report/report.html").read_text()
    assert page.count("<section") == len(kinds)
    assert page.count("data:image/jpeg;base64,") > 20
    assert not re.findall(r'(?:src|href)="(?!data:)', page)  # needs no other file
    # what is recommended can be pasted
    command = report["command"].split()
    assert command[:2] == ["moat", "train"]
    assert parse(load_command("train"), command[2:]).engine["data"] == str(file)


def test_a_folder_that_holds_something_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_clean(tmp_path / "parts")
    assert run("check", ["--data", str(file), "--fix", str(tmp_path / "parts")]) == 2
    assert "not empty" in capsys.readouterr().err


@pytest.mark.parametrize(("out", "fix"), [("made", "made"), ("made/report", "made"), (None, "runs")])
def test_a_report_within_the_copy_is_refused_before_images_are_read(
    out: str | None, fix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_clean(tmp_path / "parts")
    assert run("check", ["--data", str(file), "--fix", fix, *(["--out", out] if out else [])]) == 2
    printed = capsys.readouterr()
    assert f"--fix {fix}: the report is written there first ({out or 'runs/check'})" in printed.err
    assert not printed.out
    assert not (tmp_path / fix).exists()


@pytest.mark.parametrize(
    ("fix", "message"),
    [
        ("parts/images/train/fixed", "lies within the images of the source"),
        ("parts/data.yaml/fixed", "cannot be written"),
    ],
)
def test_a_copy_that_cannot_be_is_refused_before_images_are_read(
    fix: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_clean(tmp_path / "parts")
    monkeypatch.setattr("moat_det.checks.run.inspect_images", lambda *_: pytest.fail("an image was read"))
    assert run("check", ["--data", str(file), "--fix", fix]) == 2
    assert f"{tmp_path / fix}: {message}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["check", "--data", "demo"],
        ["compare", "a", "b"],
        ["agreement", "--raters", "a=a.csv", "b=b.csv"],
        ["show-batch", "--data", "demo", "--out", "runs/a.jpg"],
        ["benchmark", "--models", "tiny_moat0", "--imgsz", "64", "--out", "runs"],
    ],
)
def test_results_that_cannot_be_written_are_refused_before_any_work(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").touch()  # where their folder is to be
    assert run(words[0], words[1:]) == 2
    printed = capsys.readouterr()
    assert "cannot be written" in printed.err
    assert "a file stands where a folder is needed" in printed.err
    assert not printed.out


def test_a_split_that_is_not_on_this_machine_is_left_out_of_the_copy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_clean(tmp_path / "parts")
    file.write_text(file.read_text().replace("coco/set.json", "images/test"))
    assert run("check", ["--data", str(file), "--fix", "fixed"]) == 2
    assert f"fixed: without 'test', which cannot be read: {tmp_path}/parts/images/test" in capsys.readouterr().out
    (line,) = (tmp_path / "fixed/changes.txt").read_text().splitlines()
    assert line.startswith(f"test: {tmp_path}/parts/images/test")
    assert line.endswith("split left out")
    assert sorted(path.name for path in (tmp_path / "fixed/images").iterdir()) == ["train", "val"]
    assert run("check", ["--data", "fixed"]) == 0


@pytest.mark.parametrize("name", ["report.html", "report.json"])
def test_a_report_of_something_else_is_kept(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_clean(tmp_path / "parts")
    assert run("check", ["--data", str(file), "--out", "report"]) == 0
    assert run("check", ["--data", str(file), "--out", "report"]) == 0, "a check's own is written anew"
    (tmp_path / "report" / name).write_text("<title>Validation of best.pt</title>")
    capsys.readouterr()
    assert run("check", ["--data", str(file), "--out", "report"]) == 2
    printed = capsys.readouterr()
    assert printed.err.strip() == (
        f"check: --out report: its {name} is not that of a check, and is kept: choose another folder"
    )
    assert not printed.out, "no image was read"
    assert (tmp_path / "report" / name).read_text() == "<title>Validation of best.pt</title>"


def test_a_yaml_that_cannot_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", ["--data", "absent/data.yaml"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_page_says_first_what_to_do_and_names_files_below_the_data(tmp_path: Path) -> None:
    file, _ = write_dirty(tmp_path / "parts")
    assert run("check", ["--data", str(file), "--out", "report"]) == 2
    page = (tmp_path / "report/report.html").read_text()
    assert page.index("What to do first") < page.index("moat train --data") < page.index("<table")
    assert f"moat check --data {file} --fix" in page
    assert f"{tmp_path / 'parts'}/images" not in page
    assert "labels/train/part010.txt: line 3" in page
    legend = page[page.index('class="legend"') :].split("</ul>")[0]
    assert legend.count("<li>") == 7  # a colour for each class
    assert 'class="grid"' in page
