from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from helpers.evaluation_sample import evaluator_of, only, random_detections, random_images
from moat_det.evaluation import CocoEvaluator, confusion_matrix
from moat_det.evaluation.plots import plot_confusion_matrix, plot_precision_recall


def evaluator_with(classes: int) -> CocoEvaluator:
    images = random_images(classes + 5)
    rng = np.random.default_rng(0)
    images = [replace(image, classes=rng.integers(0, classes, len(image.classes))) for image in images]
    # Names that would be hidden (_), read as formulas ($) or push all else aside.
    names = {index: f"_kind $\\bad{index}$ with an overlong name of its own" for index in range(classes)}
    evaluator = evaluator_of(images, names)
    for seed, image in enumerate(images):
        boxes, scores, found = random_detections(image, seed)
        evaluator.update(Path(image.path), boxes, scores, found % classes)
    return evaluator


@pytest.mark.parametrize("classes", [1, 6, 40])
def test_pictures_are_written_and_show_something(tmp_path: Path, classes: int) -> None:
    evaluator = evaluator_with(classes)
    curve, matrix = tmp_path / "PR_curve.png", tmp_path / "confusion_matrix.png"
    plot_precision_recall(curve, evaluator.compute())
    plot_confusion_matrix(matrix, confusion_matrix(evaluator), list(evaluator.labels.values()), 0.25)
    for path in (curve, matrix):
        picture = imread(path)[..., :3]
        assert min(picture.shape[:2]) > 400
        assert max(picture.shape[:2]) < 4000
        assert (picture < 0.99).any(axis=-1).mean() > 0.02
    assert {path.name for path in tmp_path.iterdir()} == {curve.name, matrix.name}


def test_the_curve_is_that_of_the_metrics(tmp_path: Path) -> None:
    metrics = evaluator_with(6).compute()
    plot_precision_recall(tmp_path / "a.png", metrics)
    plot_precision_recall(tmp_path / "b.png", replace(metrics, precision_at_50=metrics.precision_at_50 / 2))
    assert not np.array_equal(imread(tmp_path / "a.png"), imread(tmp_path / "b.png"))


def test_nothing_to_draw_is_no_error(tmp_path: Path) -> None:
    images = [only(image, np.zeros(len(image.classes), dtype=bool)) for image in random_images(3)]
    evaluator = evaluator_of(images)
    plot_precision_recall(tmp_path / "PR_curve.png", evaluator.compute())
    matrix = confusion_matrix(evaluator)
    plot_confusion_matrix(tmp_path / "confusion_matrix.png", matrix, list(evaluator.labels.values()), 0.25)
    assert len([imread(path) for path in tmp_path.iterdir()]) == 2


def test_a_failed_picture_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "PR_curve.png"
    metrics = evaluator_with(1).compute()
    plot_precision_recall(path, metrics)
    before = path.read_bytes()

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("moat_det.evaluation.plots.Figure.savefig", fail)
    with pytest.raises(OSError, match="No space"):
        plot_precision_recall(path, metrics)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_no_state_of_pyplot_is_touched() -> None:
    code = "import sys, moat_det.evaluation; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
