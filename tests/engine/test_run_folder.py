"""Runs of one name that begin together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from moat_det import run_folder
from moat_det.cli.main import run
from moat_det.engine import MOAT, trainer, validator
from moat_det.engine.predictor import Predictor
from moat_det.errors import UserError
from moat_det.files import claim_folder
from moat_det.run_folder import check_apart


@pytest.mark.parametrize("command", ["train", "val"])
def test_two_that_begin_together_have_a_folder_each(
    command: str, trained: Path, demo: Path, model_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are at the moment of the choice at once."""
    together = Barrier(2)

    def claim_together(args: Any) -> Path:
        together.wait(60)
        return run_folder.claim_run(args)

    monkeypatch.setattr(trainer, "claim_run", claim_together)
    monkeypatch.setattr(validator, "claim_run", claim_together)
    options = {"data": str(demo), "project": str(tmp_path), "name": "r", "imgsz": 64, "workers": 0, "plots": False}

    def begin(model: MOAT) -> None:
        if command == "train":
            model.make_trainer(**options, epochs=1)
        else:
            model.val(**options)

    models = [MOAT(model_yaml if command == "train" else trained / "weights" / "best.pt") for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(begin, models))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r", "r-2"]
    file = "args.yaml" if command == "train" else "metrics.json"
    assert all((folder / file).is_file() for folder in tmp_path.iterdir())


def test_a_file_of_that_name_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("mine")
    assert claim_folder(tmp_path / "r").name == "r-2"
    with pytest.raises(FileExistsError):
        claim_folder(tmp_path / "r", exist_ok=True)
    assert (tmp_path / "r").read_text() == "mine"


@pytest.fixture
def photos(demo: Path, tmp_path: Path) -> Path:
    """A folder of pictures, with labels beside it as a dataset has them."""
    for number, file in enumerate(sorted((demo.parent / "images" / "val").iterdir())[:2]):
        for folder, name, content in (("images", "jpg", file.read_bytes()), ("labels", "txt", b"0 .5 .5 .2 .2\n")):
            (tmp_path / "set" / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / folder / f"{number}.{name}").write_bytes(content)
    (tmp_path / "set" / "data.yaml").write_text(
        "train: images\nval: images\nnames: [scratch, pit, stain, missing_pad]\n"
    )
    return tmp_path / "set"


def contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("place", [("set", "images"), ("", "set")])
def test_results_take_the_place_of_nothing_that_is_read(place: tuple[str, str], trained: Path, photos: Path) -> None:
    project, name = photos.parent / place[0], place[1]
    before, model = contents(photos), MOAT(trained / "weights" / "best.pt")
    with pytest.raises(UserError, match=r"holds images that are read, .* choose another folder"):
        model.predict(photos / "images", imgsz=64, project=project, name=name, exist_ok=True, save=True, save_txt=True)
    assert contents(photos) == before
    model.predict(photos / "images", imgsz=64, project=project, name=name, save=True)
    assert before.items() <= contents(photos.parent).items()


@pytest.mark.parametrize("as_list", [False, True])
def test_a_run_within_the_source_takes_the_place_of_no_picture(as_list: bool, trained: Path, photos: Path) -> None:
    (photos / "images" / "a").mkdir()
    (photos / "images" / "1.jpg").rename(photos / "images" / "a" / "0.jpg")  # as the result of the other one is called
    before, model = contents(photos), MOAT(trained / "weights" / "best.pt")
    source = sorted(path for path in before if path.suffix == ".jpg") if as_list else photos / "images"
    options = {"imgsz": 64, "project": photos / "images", "name": "a", "save": True, "verbose": False}
    with pytest.raises(UserError, match=r"images/a holds images that are read, .* choose another folder"):
        model.predict(source, **options, exist_ok=True)
    assert contents(photos) == before
    model.predict(source, **options)  # which makes the folder a-2
    assert before.items() <= contents(photos).items()


def test_links_lead_results_to_no_picture(tmp_path: Path) -> None:
    for folder in ("src/a", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "src/a/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "other").symlink_to(tmp_path / "src")
    check_apart(tmp_path / "src/a", [str(tmp_path / "src/1.jpg"), str(tmp_path / "src/ab/1.jpg")])
    (tmp_path / "src/own.jpg").symlink_to(tmp_path / "elsewhere/own.jpg")
    check_apart(tmp_path / "src/a", [str(tmp_path / "src/own.jpg")])
    (tmp_path / "src/of_run.jpg").symlink_to(tmp_path / "src/a/1.jpg")
    for file in ("src/a/1.jpg", "src/a/link/1.jpg", "other/a/1.jpg", "other/a/link/1.jpg", "src/of_run.jpg"):
        with pytest.raises(UserError, match="src/a holds images that are read"):
            check_apart(tmp_path / "src/a", [str(tmp_path / "src/1.jpg"), str(tmp_path / file)])


@pytest.mark.parametrize(
    ("command", "words"),
    [("detect", ["--save-csv"]), ("detect", ["--save-json"]), ("track", []), ("track", ["--save-csv"])],
)
@pytest.mark.parametrize("at_fault", ["a file in the way", "the source"])
def test_a_folder_that_cannot_be_had_is_refused_before_any_image_is_looked_at(
    command: str,
    words: list[str],
    at_fault: str,
    trained: Path,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if command == "track":
        pytest.importorskip("lap")
    monkeypatch.setattr(Predictor, "preprocess", lambda *_: pytest.fail("it detects"))
    before = contents(photos)
    (photos.parent / "afile").write_text("mine")
    place = ["--project", str(photos.parent / "afile/x")]
    if at_fault == "the source":
        place = ["--project", str(photos), "--name", "images", "--exist-ok"]
    given = ["--weights", str(trained / "weights/best.pt"), "--source", str(photos / "images"), "--imgsz", "64"]
    assert run(command, [*given, "--save", "false", *words, *place]) == 2
    said = capsys.readouterr().err
    assert ("holds images that are read" if at_fault == "the source" else "afile/x") in said
    assert contents(photos) == before


def test_two_predictions_of_a_model_have_a_folder_each(trained: Path, photos: Path) -> None:
    model, files = MOAT(trained / "weights" / "best.pt"), sorted((photos / "images").iterdir())
    for number, file in enumerate(files):
        (photos.parent / str(number)).mkdir()
        file.rename(photos.parent / str(number) / "part.jpg")
        model.predict(photos.parent / str(number), imgsz=64, project=photos.parent / "runs", save=True, verbose=False)
    written = contents(photos.parent / "runs")
    assert sorted(path.relative_to(photos.parent / "runs").as_posix() for path in written) == [
        "predict-2/part.jpg",
        "predict/part.jpg",
    ]
    assert len(set(written.values())) == 2
    options = {"imgsz": 64, "project": photos.parent / "runs", "save": True, "verbose": False, "exist_ok": True}
    model.predict(photos.parent / "1", **options)
    assert contents(photos.parent / "runs").keys() == written.keys()


@pytest.mark.parametrize("command", ["detect", "val"])
def test_files_of_an_earlier_run_that_stay_are_said(command: str, trained: Path, photos: Path, log: list[str]) -> None:
    model, folder = MOAT(trained / "weights" / "best.pt"), photos.parent / "run"
    options = {"imgsz": 64, "save_txt": True, "conf": 0.0001, "project": folder.parent, "name": "run", "exist_ok": True}
    for _ in range(2):
        if command == "detect":
            model.predict(photos / "images", save=True, verbose=False, **options)
        else:
            model.val(data=photos / "data.yaml", workers=0, plots=False, **options)
        (photos / "images/0.jpg").unlink(missing_ok=True)
    assert (folder / "labels/0.txt").is_file()
    assert (folder / "labels/1.txt").is_file()
    (line,) = (line for line in log if "an earlier run, which stay" in line)
    assert line.startswith(f"{folder}: ")


def test_a_validation_writes_no_labels_over_those_it_reads(trained: Path, photos: Path) -> None:
    labels, model = contents(photos / "labels"), MOAT(trained / "weights" / "best.pt")
    options = {"imgsz": 64, "workers": 0, "plots": False, "save_txt": True, "project": photos.parent}
    with pytest.raises(UserError, match="holds images that are read"):
        model.val(data=photos / "data.yaml", name="set", exist_ok=True, **options)
    assert contents(photos / "labels") == labels
    model.val(data=photos / "data.yaml", name="val", exist_ok=True, **options)


def test_pictures_of_an_earlier_run_within_the_source_are_said(trained: Path, photos: Path, log: list[str]) -> None:
    model = MOAT(trained / "weights" / "best.pt")
    options = {"imgsz": 64, "project": photos / "images" / "runs", "save": True, "verbose": False}
    model.predict(photos / "images", **options)
    assert not any("results of runs" in line for line in log)
    assert len(model.predict(photos / "images", **options)) == 4
    (line,) = (line for line in log if "results of runs" in line)
    assert f"2 of the files lie below {photos / 'images' / 'runs'}, where results of runs go" in line
    assert "name a --project that is not in the source" in line
    named = MOAT(trained / "weights" / "best.pt")
    named.predict(photos / "images" / "runs" / "predict", **options)  # asked for by name
    assert len([line for line in log if "results of runs" in line]) == 1


def test_a_source_that_is_the_project_itself_holds_results(tmp_path: Path, log: list[str]) -> None:
    files = [str(tmp_path / name) for name in ("part.jpg", "predict/part.jpg")]
    run_folder.tell_results(tmp_path, str(tmp_path), files)
    (line,) = log
    assert f"1 of the files lie below {tmp_path}, where results of runs go" in line
    run_folder.tell_results(tmp_path, str(tmp_path / "predict"), files[1:])  # asked for by name
    assert len(log) == 1
