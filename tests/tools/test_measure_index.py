from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from moat_det.data.config import load_dataset
from moat_det.data.index import open_index
from moat_det.demo import generate_demo


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_demo(tmp_path_factory.mktemp("demo") / "set", train=1, val=4, size=(64, 64))


def test_the_formats_hold_the_same_set(tool: ModuleType, data: Path, tmp_path: Path) -> None:
    content = load_dataset(data)
    tool.make_set(content, tmp_path, 10)
    first, *others = (
        open_index(tmp_path / source, content["names"], {str(tmp_path / source): str(tmp_path / "images")})
        for source in tool.SOURCES.values()
    )
    assert len(first.paths) == 10
    assert len(first.boxes) > 0
    for other in others:
        assert other.paths == first.paths
        assert other.classes.tolist() == first.classes.tolist()
        assert other.boxes == pytest.approx(first.boxes, abs=0.51)  # whole pixels


def test_the_table(
    tool: ModuleType, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tool, "SOURCES", {"VOC": "xml"})  # each takes two processes
    assert tool.main(["--data", str(data), "--count", "6", "--repeats", "1"]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    title, images, *figures = (cell.strip() for cell in last.strip("|").split("|"))
    assert (title, images) == ("VOC", "6")
    assert len([float(figure) for figure in figures]) == 4


@pytest.mark.parametrize(
    ("words", "message"), [(["--data", "gone.yaml"], "no such dataset YAML"), (["--count", "0"], "--count 0")]
)
def test_mistakes_are_one_line(
    tool: ModuleType, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool.main(words) == 2
    line = capsys.readouterr().err
    assert message in line
    assert line.count("\n") == 1
