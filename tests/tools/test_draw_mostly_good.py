from __future__ import annotations

from pathlib import Path

import pytest

from helpers.datasets import open_dataset
from tools.draw_mostly_good import main


def test_sets_that_share_their_defects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--out", str(tmp_path / "set"), "--defective", "3", "--good", "0", "6", "--side", "64"]
    assert main(words) == 0
    sources = [Path(line) for line in capsys.readouterr().out.split()]
    few, many = (open_dataset(source, good_parts=0.9) for source in sources)
    assert (len(few), len(many)) == (3, 9)
    assert [len(label["cls"]) > 0 for label in many.labels] == [True] * 3 + [False] * 6
    assert [label["bboxes"].tolist() for label in few.labels] == [label["bboxes"].tolist() for label in many.labels[:3]]
    assert main(words) == 2
    assert "is there already" in capsys.readouterr().err
