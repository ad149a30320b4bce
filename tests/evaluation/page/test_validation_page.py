"""The page of a validation: what it says, and what its thresholds move."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from helpers.browser import open_page
from helpers.inspected import settings
from moat_det.data.images.intensity import Intensity
from moat_det.evaluation.errors import write_errors
from moat_det.evaluation.inspection.box_matches import match_boxes
from moat_det.evaluation.inspection.figures import escape, overkill
from moat_det.evaluation.inspection.find_operating_point import find_operating_point
from moat_det.evaluation.inspection.froc import false_alarms, gather
from moat_det.evaluation.inspection.inspection import inspect
from moat_det.evaluation.inspection.parts import read_parts
from moat_det.evaluation.inspection.rule import Rule
from moat_det.evaluation.inspection.targets import TargetOptions
from moat_det.evaluation.page.page import write_page

CLASSES = ["scratch", "pit & </script><b>"]  # names are plain text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A validation of 60 parts, half of them good, with random detections and pictures."""
    rng = np.random.default_rng(3)
    images, annotations, found = [], [], []
    for number in range(1, 61):
        images.append({"id": number, "file_name": f"part{number:02d}.png", "width": 96, "height": 80})
        cv2.imwrite(str(tmp_path / f"part{number:02d}.png"), rng.integers(0, 255, (80, 96, 3), dtype=np.uint8))
        boxes = [[float(x), 20.0, 24.0, 24.0] for x in rng.choice([2, 36, 66], 2, replace=False)]
        if number % 2:
            annotations.append(
                {
                    "id": number,
                    "image_id": number,
                    "category_id": 1 + number % 4 // 2,
                    "bbox": boxes[0],
                    "area": 576.0,
                    "iscrowd": 0,
                }
            )
        for box, level in zip(boxes, (0.75, 0.3), strict=True):
            score = float(np.clip(rng.normal(level, 0.2), 0.001, 0.999))
            found.append({"image_id": number, "category_id": int(rng.integers(1, 3)), "bbox": box, "score": score})
    truth = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)],
    }
    run = tmp_path / "val"
    run.mkdir()
    content: dict[str, Any] = {
        "ground_truth.json": truth,
        "predictions.json": found,
        "inspection.json": inspect(truth, found, resamples=50).to_json_dict(),
        "settings.json": asdict(settings(chosen_on_same_split=True)),
    }
    for name, value in content.items():
        (run / name).write_text(json.dumps(value))
    write_errors(run, truth, found)
    return run


def make(folder: Path) -> Path:
    images = json.loads((folder / "ground_truth.json").read_text())["images"]
    paths = {image["id"]: str(folder.parent / image["file_name"]) for image in images}
    return write_page(folder, paths, Intensity("image"))


def test_a_users_json_need_not_say_how_large_the_images_are(folder: Path) -> None:
    assert "width x height in pixels" in make(folder).read_text()
    file = folder / "ground_truth.json"
    truth = json.loads(file.read_text())
    del truth["images"][3]["width"]
    file.write_text(json.dumps(truth))
    assert "width x height in pixels" not in make(folder).read_text()


def test_the_page_has_all_in_it_and_needs_nothing_else(folder: Path) -> None:
    page = make(folder).read_text()
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', markup)
    assert "default-src 'none'" in markup  # the browser itself refuses every request
    assert page.count("data:image/jpeg;base64,") > 10
    for word in ("escape: defective parts passed", "AUROC", "Confusion matrix", "chosen on these very images"):
        assert word in page
    assert "<b>" not in markup  # a class is no markup
    assert "metrics.json" in page  # which is not there, and said
    assert not re.search(r"<img(?![^>]*alt=\"[^\"])", markup)


def test_what_is_absent_is_left_out_and_said(folder: Path) -> None:
    for name in ("inspection.json", "errors.json", "settings.json"):
        (folder / name).unlink()
    page = make(folder).read_text()
    assert "inspection.json, errors.json, settings.json, metrics.json" in page
    assert 'id="reject"' not in page
    assert "Confusion matrix" in page


def test_each_class_is_shown_from_its_own_threshold_on(folder: Path) -> None:
    truth, found = (json.loads((folder / name).read_text()) for name in ("ground_truth.json", "predictions.json"))
    rule = Rule(0.1, per_class={CLASSES[0]: 0.1, CLASSES[1]: 2.0})
    (folder / "inspection.json").write_text(json.dumps(inspect(truth, found, rule=rule, resamples=0).to_json_dict()))
    write_errors(folder, truth, found, rule)
    page = make(folder).read_text()
    assert "Errors at the threshold of each class" in page
    matrix = page[page.index("What each object was taken for at the threshold of each class") :]
    rows = [re.findall(r"<td[^>]*>(\d+)</td>", row) for row in matrix[: matrix.index("</table>")].split("</tr>")]
    counts = [sum(map(int, row)) for row in rows if row]
    assert counts[0] == sum(entry["category_id"] == 1 and entry["score"] >= 0.1 for entry in found)
    assert counts[1] == 0  # no score is so high


def test_a_target_out_of_reach_leaves_the_page_with_what_comes_nearest(folder: Path) -> None:
    truth, found = (json.loads((folder / name).read_text()) for name in ("ground_truth.json", "predictions.json"))
    point = find_operating_point(truth, found, TargetOptions(max_escape=0.001), settings(classes=CLASSES))
    assert point.threshold is None
    point.write(folder / "operating_point.json")
    page = make(folder).read_text()
    assert "--max-escape 0.001 is out of reach" in page
    assert 'id="reject"' in page  # the curves are there too


def test_pictures_that_are_gone_are_left_out(folder: Path) -> None:
    for file in folder.parent.glob("*.png"):
        file.unlink()
    page = make(folder).read_text()
    assert "data:image" not in page
    assert "Errors at threshold" in page


@pytest.mark.parametrize(("reject", "review"), [(0.5, 0.3), (0.8, 0.8), (0.05, 0.02)])
def test_the_slider_shows_the_figures_that_python_gives(
    folder: Path, tmp_path: Path, reject: float, review: float
) -> None:
    opened = open_page(make(folder), tmp_path / "profile", f"#reject={reject}&review={review}")
    assert not opened.console
    truth, found = (json.loads((folder / name).read_text()) for name in ("ground_truth.json", "predictions.json"))
    parts = read_parts(truth, found)
    alarms = gather(match_boxes(truth, found, np.array([0.5]), max_detections=None))
    expected = {"escape": escape(parts, review), "overkill": overkill(parts, reject)}
    for name, interval in expected.items():
        assert interval is not None
        shown = opened.dom[f"figure-{name}"]
        assert [float(shown[f"data-{end}"]) for end in ("value", "low", "high")] == pytest.approx(list(interval))
    waiting = ((parts.scores >= review) & (parts.scores < reject)).mean()
    assert float(opened.dom["figure-review"]["data-value"]) == pytest.approx(waiting)
    assert float(opened.dom["figure-recall"]["data-value"]) == pytest.approx((alarms.found_at >= review).mean())
    wrong = false_alarms(alarms, parts, reject)
    assert wrong is not None
    assert float(opened.dom["figure-alarms"]["data-value"]) == pytest.approx(wrong.value)
    assert "graphics-document" in opened.text  # the plots are drawn


def test_review_is_never_above_reject(folder: Path, tmp_path: Path) -> None:
    opened = open_page(make(folder), tmp_path / "profile", "#review=0.6&reject=0.4", width=390)
    assert float(opened.dom["figure-review"]["data-value"]) == 0


def test_every_control_has_a_label(folder: Path) -> None:
    page = make(folder).read_text()
    for name in re.findall(r'<input type="range" id="([^"]+)"', page):
        assert f'<label for="{name}">' in page
        assert re.search(rf'id="{name}-number"[^>]*aria-label=', page)
    assert re.findall(r'<div class="plot"[^>]*>', page)
    assert all("aria-label=" in plot for plot in re.findall(r'<div class="plot"[^>]*>', page))
    assert page.count("the values as a table") == len(re.findall(r'<div class="plot"', page))
