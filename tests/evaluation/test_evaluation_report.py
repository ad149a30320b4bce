from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.evaluation_sample import NAMES, evaluator_of, random_detections, random_images
from helpers.inspected import settings
from moat_det.evaluation import STATS, CocoEvaluator, metrics_table, write_results
from moat_det.evaluation.options import MeasuringOptions
from moat_det.evaluation.validation_files import write_validation
from moat_det.evaluation.validation_folder import PLOTS


@pytest.fixture
def evaluator() -> CocoEvaluator:
    images = random_images(60)
    evaluator = evaluator_of(images, {**NAMES, 3: "a kind that never occurs"})
    for seed, image in enumerate(images):
        evaluator.update(Path(image.path), *random_detections(image, seed))
    return evaluator


def test_files_and_their_keys(tmp_path: Path, evaluator: CocoEvaluator) -> None:
    metrics = evaluator.compute()
    write_results(tmp_path / "run", evaluator, metrics, {"inference": 12.5})
    files = {path.name: json.loads(path.read_text()) for path in (tmp_path / "run").iterdir()}
    assert set(files) == {"metrics.json", "predictions.json", "ground_truth.json"}
    assert list(files["metrics.json"]) == [*STATS, "per_class", "images", "speed_ms"]
    assert files["metrics.json"]["speed_ms"] == {"inference": 12.5}
    assert files["metrics.json"]["images"] == 60
    assert files["metrics.json"]["per_class"] == metrics.per_class
    assert files["ground_truth.json"] == evaluator.ground_truth
    assert files["predictions.json"] == evaluator.predictions
    assert set(files["predictions.json"][0]) == {"image_id", "category_id", "bbox", "score"}


def test_files_of_an_earlier_run_stay_whole_when_writing_fails(tmp_path: Path, evaluator: CocoEvaluator) -> None:
    metrics = evaluator.compute()
    write_results(tmp_path, evaluator, metrics, {"inference": 1.0})
    before = (tmp_path / "metrics.json").read_text()
    with pytest.raises(ValueError, match="Out of range float"):
        write_results(tmp_path, evaluator, metrics, {"inference": float("nan")})
    assert (tmp_path / "metrics.json").read_text() == before
    assert len(list(tmp_path.iterdir())) == 3


def test_table_is_aligned_and_complete(evaluator: CocoEvaluator) -> None:
    metrics = evaluator.compute()
    lines = metrics_table(metrics).splitlines()
    assert lines[0].split() == list(STATS)
    assert [float(value) for value in lines[1].split()] == pytest.approx(
        [getattr(metrics, name) for name in STATS], abs=5e-4
    )
    assert len(lines[0]) == len(lines[1]) < 100
    assert len({len(line) for line in lines[3:]}) == 1
    assert lines[3].split() == ["class", "images", "boxes", "AP", "AP50"]
    assert lines[4].split()[:2] == ["all", "60"]
    assert [line[:10].strip() for line in lines[5:]] == ["scratch", "pit", "stain", "a kind tha"]
    assert lines[-1].split()[-4:] == ["0", "0", "-", "-"]


def test_table_of_good_parts_alone_has_dashes() -> None:
    images = [image for image in random_images(30) if len(image.boxes) == 0]
    assert images
    lines = metrics_table(evaluator_of(images).compute()).splitlines()
    assert lines[1].split() == ["-"] * 12


def test_the_mean_of_a_curve_is_its_ap50(evaluator: CocoEvaluator) -> None:
    metrics = evaluator.compute()
    assert metrics.precision_at_50.shape == (4, 101)
    rows = list(metrics.per_class.values())
    np.testing.assert_allclose(metrics.precision_at_50.mean(axis=1), [row["AP50"] for row in rows])


def test_pictures_of_an_earlier_validation_do_not_stay_beside_new_figures(
    tmp_path: Path, evaluator: CocoEvaluator, log: list[str]
) -> None:
    def write(folder: Path, plots: bool, batches: int = 0) -> set[str]:
        figures, options = evaluator.compute(), MeasuringOptions()
        write_validation(folder, evaluator, figures, {}, options, settings(), {}, plots=plots, batches=batches)
        return {file.name for file in folder.iterdir() if file.suffix in {".png", ".jpg"}}

    drawn = write(tmp_path / "v", plots=True)
    assert drawn == set(PLOTS)
    for number in range(3):  # by whoever detects
        (tmp_path / f"v/val_batch{number}_pred.jpg").write_text("")
    assert write(tmp_path / "v", plots=True, batches=2) == {*PLOTS, "val_batch0_pred.jpg", "val_batch1_pred.jpg"}
    log.clear()
    (tmp_path / "v/mine.png").write_text("")
    assert write(tmp_path / "v", plots=False) == {"mine.png"}
    (told,) = [message for message in log if "of the earlier validation removed" in message]
    assert all(name in told for name in drawn)
    (tmp_path / "own").mkdir()
    (tmp_path / "own/PR_curve.png").write_text("")  # no validation is in this folder
    assert write(tmp_path / "own", plots=False) == {"PR_curve.png"}
