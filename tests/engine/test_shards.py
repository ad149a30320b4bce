"""Detection in shards: each image once, whoever is stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.dataset_files import write_noise
from moat_det.cli import main as cli
from moat_det.detection.shards import DETECTIONS, Shard, ShardRecord
from moat_det.engine.model import MOAT
from moat_det.errors import UserError

IMAGES = [f"{folder}/part{number}.png" for folder in ("a", "b/c") for number in range(8)] + ["a/part0.jpg"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """17 small images in two folders, two of which differ in their suffix alone."""
    return write_noise(tmp_path / "source", IMAGES)


@pytest.fixture
def words(trained: Path, source: Path, tmp_path: Path) -> list[str]:
    weights = trained / "weights" / "best.pt"
    return ["--weights", str(weights), "--source", str(source), "--project", str(tmp_path / "runs"), "--conf", "0.01"]


def done(folder: Path) -> list[str]:
    return [json.loads(line)["file_name"] for line in (folder / DETECTIONS).read_text().splitlines()]


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_shards_have_each_image_once(words: list[str], tmp_path: Path) -> None:
    for number in (1, 2, 3):
        cli.detect([*words, "--shard", f"{number}/3", "--save-txt", "--debug"])
    cli.detect([*words, "--save-txt", "--name", "whole", "--debug"])
    folders = [tmp_path / "runs" / f"detect-{number}-of-3" for number in (1, 2, 3)]
    assert sorted(image for folder in folders for image in done(folder)) == sorted(IMAGES)
    assert all(Shard(number, 3).has(image) for number, folder in enumerate(folders, 1) for image in done(folder))
    # Their files are called, and hold, what those of a whole run do, so that they can be laid together.
    parts = {path.relative_to(folder): path for folder in folders for path in folder.rglob("*.[jt][px][gt]")}
    whole = {path.relative_to(tmp_path / "runs" / "whole") for path in (tmp_path / "runs" / "whole").rglob("*.*")}
    assert parts.keys() == whole
    for name, path in parts.items():
        assert path.read_bytes() == (tmp_path / "runs" / "whole" / name).read_bytes()


def test_a_stopped_shard_goes_on(words: list[str], source: Path, tmp_path: Path, log: list[str]) -> None:
    folder = tmp_path / "runs" / "detect-1-of-1"
    settings = {
        "source": str(source),
        "project": str(tmp_path / "runs"),
        "name": "detect",
        "shard": "1/1",
        "save": True,
    }
    results = MOAT(words[1]).predict(**settings, conf=0.01, stream=True)
    for _ in range(5):
        next(results)
    results.close()
    with (folder / DETECTIONS).open("a") as file:
        file.write('{"file_name": "a/pa')  # as a process that is killed leaves it
    before = times(folder)
    assert len(done_before := (folder / DETECTIONS).read_text().splitlines()[:-1]) == 5
    cli.detect([*words, "--shard", "1/1", "--debug"])
    assert sorted(done(folder)) == sorted(IMAGES)
    assert (folder / DETECTIONS).read_text().splitlines()[:5] == done_before
    pictures = {path: time for path, time in before.items() if path.suffix == ".jpg"}
    assert len(pictures) == 5
    assert pictures.items() <= times(folder).items(), "what was done is not done again"
    assert any("17 of 17 images, 5 of them done before" in line for line in log)


def test_one_that_goes_on_calls_nothing_otherwise(words: list[str], source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "detect-1-of-1"
    shard = [*words, "--shard", "1/1", "--save-txt", "--debug"]
    (source / "b/c/part0.png").rename(source / "b/c/part0.tif")
    cli.detect(shard)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*.[jt][px][gt]")}
    write_noise(source, ["b/c/part0.bmp", "a/part0.bmp"])  # which come first in their folders
    cli.detect(shard)
    after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*.[jt][px][gt]")}
    assert before.items() <= after.items()
    assert len(done(folder)) == len(set(done(folder))) == len(IMAGES) + 2
    assert (folder / "b/c/part0.bmp.jpg").is_file()


def test_a_shard_that_is_done_stays_as_it_is(words: list[str], tmp_path: Path) -> None:
    cli.detect([*words, "--shard", "1/2", "--debug"])
    before = times(tmp_path / "runs")
    cli.detect([*words, "--shard", "1/2", "--debug"])
    assert times(tmp_path / "runs") == before


def test_a_setting_that_is_left_out_is_another(tmp_path: Path) -> None:
    ShardRecord(tmp_path, {"source": "parts", "conf": 0.9}).close()
    with pytest.raises(UserError, match=r"begun with conf 0\.9, and is now to have None"):
        ShardRecord(tmp_path, {"source": "parts"})


def test_a_shard_goes_on_with_the_same_settings_alone(words: list[str]) -> None:
    cli.detect([*words, "--shard", "1/9", "--debug"])
    with pytest.raises(UserError, match=r"was begun with iou 0\.7, and is now to have 0\.5"):
        cli.detect([*words, "--shard", "1/9", "--iou", "0.5", "--debug"])


def test_two_processes_do_not_share_a_shard(tmp_path: Path) -> None:
    first = ShardRecord(tmp_path, {})
    with pytest.raises(UserError, match="another process is at work on this shard"):
        ShardRecord(tmp_path, {})
    first.close()
    ShardRecord(tmp_path, {}).close()


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "1/0", "a/b", "-1/2"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=f"--shard {text}: must be I/N"):
        Shard.read(text)


@pytest.mark.parametrize("word", ["--save-json", "--save-csv"])
def test_the_files_of_a_whole_run_are_refused(word: str, words: list[str]) -> None:
    with pytest.raises(UserError, match=f"{word}: with --shard the detections are in detections.jsonl"):
        cli.detect([*words, "--shard", "1/2", word, "--debug"])


def test_a_path_is_in_the_same_shard_on_every_machine() -> None:
    names = ["a/part0.png", "a/part1.png", "b/Größe 1.png", "b/c/x.tif"]
    assert [next(i for i in range(1, 6) if Shard(i, 5).has(name)) for name in names] == [4, 3, 3, 2]
