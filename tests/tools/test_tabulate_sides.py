from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools import tabulate_sides


def test_each_group_has_the_boxes_of_its_narrow_side_in_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = [[10.0, 10.0, 12.0, 90.0], [100.0, 100.0, 40.0, 40.0], [200.0, 20.0, 100.0, 80.0]]
    truth = {
        "images": [{"id": 1, "file_name": "a.png", "width": 640, "height": 320}],
        "categories": [{"id": 1, "name": "pit"}],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for number, box in enumerate(boxes, 1)
        ],
    }
    # Of the two wider ones one is found, as it is.
    found = [{"image_id": 1, "category_id": 1, "bbox": boxes[2], "score": 0.9}]
    (tmp_path / "ground_truth.json").write_text(json.dumps(truth))
    (tmp_path / "predictions.json").write_text(json.dumps(found))
    assert tabulate_sides.main([str(tmp_path), "--imgsz", "320", "--sides", "8", "20", "100"]) == 0
    heading, _, line = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in (heading, line)]
    assert cells[0] == ["AP (boxes)", "all", "0 to 8 px", "8 to 20 px", "20 to 100 px", "100 to inf px"]
    assert cells[1] == [tmp_path.name, "0.337 (3)", "0.000 (1)", "-", "0.505 (2)", "-"]
