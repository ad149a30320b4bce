from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from helpers.dataset_files import noise
from helpers.datasets import open_dataset
from moat_det.data.loader import image_cache
from moat_det.data.loader import images as images_module
from moat_det.data.loader.images import Images
from moat_det.data.loader.loader import make_loader

MakeSet = Callable[[dict[str, str | None]], Path]
FILES = {f"{i}.png": "0 0.5 0.5 0.25 0.5\n" for i in range(5)} | {"big.jpg": "1 0.5 0.5 0.25 0.5\n"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the caches of the test lie."""
    monkeypatch.setenv("MOAT_DET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


@pytest.fixture
def source(make_set: MakeSet) -> Path:
    """A set whose files are old enough to be trusted, one of them a JPEG that is decoded at reduced scale."""
    source = make_set(FILES)
    for split in ("train", "val"):
        noise(160, 240).save(source.parent / "images" / split / "big.jpg")
    return source


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were written a moment ago count as at rest."""
    monkeypatch.setattr(image_cache, "is_settled", lambda newest, started: newest <= started + 1)


def open_set(source: Path, mode: str = "train", imgsz: int = 48, cache: Any = "disk", **settings: Any) -> Any:
    return open_dataset(source, mode, imgsz=imgsz, on_broken="replace", cache=cache, **settings)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The images that are read from their files."""
    read, seen = Images._read, list[int]()

    def count(self: Images, index: int) -> Any:
        seen.append(index)
        return read(self, index)

    monkeypatch.setattr(Images, "_read", count)
    return seen


def test_batches_are_the_same_with_and_without_a_cache(source: Path, folder: Path) -> None:
    batches = []
    for cache, workers in ((None, 0), ("disk", 0), ("disk", 1), ("ram", 0)):
        loader = make_loader(open_set(source, cache=cache, mosaic=0.7), workers, torch.device("cpu"), shuffle=True)
        loader.start_epoch(1)
        batches.append(list(loader))
        loader.close()
    for others in batches[1:]:
        for one, other in zip(batches[0], others, strict=True):
            assert all(torch.equal(one[key], other[key]) for key in ("img", "cls", "bboxes"))


def test_one_data_file_and_one_index_are_kept_and_read_again(
    source: Path, folder: Path, reads: list[int], log: list[str]
) -> None:
    plain = [open_set(source, cache=None).images.load(i) for i in range(6)]
    reads.clear()
    for _ in range(2):
        dataset = open_set(source)
        for i, (pixels, size) in enumerate(plain):
            found, found_size = dataset.images.load(i)
            assert np.array_equal(found, pixels)
            assert found_size == size
    assert sorted(reads) == list(range(6))  # once
    assert sorted(path.suffix for path in folder.iterdir()) == [".lock", ".npz", ".pixels"]
    data = next(folder.glob("*.pixels"))
    assert data.stat().st_size == sum(pixels.nbytes for pixels, _ in plain)
    assert any(str(data) in message for message in log)


def test_what_is_read_may_be_changed_and_the_cache_stays(source: Path, folder: Path) -> None:
    dataset = open_set(source)
    before = dataset.images.load(0)[0].copy()
    dataset.images.load(0)[0][:] = 0
    assert np.array_equal(dataset.images.load(0)[0], before)


def test_another_process_maps_the_file_itself(source: Path, folder: Path) -> None:
    cache = open_set(source).images.cache
    content = pickle.dumps(cache)
    assert len(content) < next(folder.glob("*.pixels")).stat().st_size
    assert np.array_equal(pickle.loads(content).get(3)[0], cache.get(3)[0])


@pytest.mark.parametrize("change", [Path.unlink, lambda pixels: pixels.write_bytes(b"another training's")])
def test_without_the_file_another_process_reads_the_images_themselves(
    source: Path, folder: Path, reads: list[int], change: Callable[[Path], Any]
) -> None:
    dataset = open_set(source)
    expected, content = dataset.images.cache.get(3)[0], pickle.dumps(dataset.images.cache)
    (pixels,) = folder.glob("*.pixels")
    pixels.rename(pixels.with_suffix(".away"))  # what is mapped stays
    pixels.touch()
    change(pixels)
    assert np.array_equal(dataset.images.load(3)[0], expected)
    reads.clear()
    dataset.images.cache = pickle.loads(content)
    assert np.array_equal(dataset.images.load(3)[0], expected)
    assert reads == [3]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda set_: noise(seed=9).save(set_ / "images/train/0.png"), id="an image"),
        pytest.param(lambda set_: os.utime(set_ / "images/train/0.png", (1, 1)), id="its time"),
    ],
)
def test_a_changed_image_makes_it_anew(
    source: Path, folder: Path, reads: list[int], change: Callable[[Path], None]
) -> None:
    open_set(source)
    change(source.parent)
    reads.clear()
    dataset = open_set(source)
    assert len(reads) == 6
    assert np.array_equal(dataset.images.load(0)[0], open_set(source, cache=None).images.load(0)[0])
    assert len(list(folder.glob("*.pixels"))) == 1


def test_another_size_mode_or_intensity_has_a_cache_of_its_own(source: Path, folder: Path) -> None:
    open_set(source)
    open_set(source, imgsz=32)
    open_set(source, "val")
    source.write_text(source.read_text() + "intensity: [0, 99]\n")
    open_set(source)
    source.write_text(source.read_text() + "channels: 1\n")
    assert open_set(source).images.load(0)[0].shape[2] == 1
    assert len(list(folder.glob("*.pixels"))) == 5


@pytest.mark.parametrize("suffix", [".pixels", ".npz"])
@pytest.mark.parametrize("damage", ["cut", "overwritten", "deleted"])
def test_a_damaged_cache_is_made_anew(source: Path, folder: Path, reads: list[int], suffix: str, damage: str) -> None:
    open_set(source)
    file = next(folder.glob(f"*{suffix}"))
    content = file.read_bytes()
    time.sleep(0.02)  # a step of the file system's clock
    if damage == "deleted":
        file.unlink()
    else:
        file.write_bytes(content[:-100] if damage == "cut" else b"\0" * len(content))
    reads.clear()
    dataset = open_set(source)
    assert len(reads) == 6
    assert np.array_equal(dataset.images.load(5)[0], open_set(source, cache=None).images.load(5)[0])
    reads.clear()
    open_set(source)
    assert not reads


def test_files_that_changed_a_moment_ago_are_cached_for_one_run(
    source: Path, folder: Path, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_cache, "is_settled", lambda newest, started: False)
    assert open_set(source).images.cache is not None
    assert open_set(source).images.cache is not None
    assert len(reads) == 12


def test_without_space_it_goes_on_without(
    source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    dataset = open_set(source)
    assert dataset.images.cache is None
    assert dataset.images.load(0)[0].shape == (32, 48, 3)
    lines = [line for line in log if "no images are cached" in line]
    assert len(lines) == 1
    assert str(folder) in lines[0]
    assert "0.00 GB are free" in lines[0]
    assert not list(folder.glob("*.pixels"))


def test_a_folder_that_cannot_be_written_is_no_error(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MOAT_DET_CACHE", str(tmp_path / "file"))
    assert open_set(source).images.cache is None
    assert sum("no images are cached" in line for line in log) == 1


def test_a_full_disk_leaves_nothing_behind(
    source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    # The index of the labels, made before, is not kept either.
    assert open_set(source).images.cache is None
    assert any("no images are cached" in line and "No space left" in line for line in log)
    assert not list(folder.glob("*.npz"))


@pytest.mark.parametrize("free", [10**9, 6 * 2 * 32 * 48 * 3 - 1])
def test_images_are_cached_in_memory_where_they_fit_into_it_twice(
    source: Path, monkeypatch: pytest.MonkeyPatch, log: list[str], free: int
) -> None:
    monkeypatch.setattr(images_module, "available_memory", lambda device: free)
    images, plain = open_set(source, cache="ram").images, open_set(source, cache=None).images
    assert (images.cache is not None) == (free == 10**9)
    assert any("no images are cached in memory" in line for line in log) == (free < 10**9)
    for i in range(6):
        assert np.array_equal(images.load(i)[0], plain.load(i)[0])
        assert images.load(i)[1] == plain.load(i)[1]


@pytest.mark.parametrize("free", [10**9, 1000])
def test_another_process_gets_the_memory_or_a_copy_where_it_cannot_be_shared(
    source: Path, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    cache = open_set(source, cache="ram").images.cache
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    content = ForkingPickler.dumps(cache)
    assert (len(content) < 6 * 32 * 48 * 3) == (free == 10**9)
    other = pickle.loads(content)
    for i in range(6):
        assert np.array_equal(other.get(i)[0], cache.get(i)[0])


@pytest.mark.parametrize("cache", ["disk", "ram", None])
def test_an_image_that_breaks_is_replaced_with_a_cache_too(
    source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, cache: str | None
) -> None:
    read = Images._read

    def read_but_one(self: Images, index: int) -> Any:
        if index == 2:
            raise OSError("cut off")
        return read(self, index)

    monkeypatch.setattr(Images, "_read", read_but_one)
    dataset = open_set(source, mosaic=0.0, cache=cache)
    for _ in range(2):
        sample = dataset[2]
        assert Path(sample["im_file"]).name in set(FILES) - {"2.png"}
        assert sample["img"].float().std() > 10
    assert 2 in dataset.images.broken


def test_two_trainings_at_once_make_it_once(source: Path, folder: Path, tmp_path: Path) -> None:
    program = """if True:
        import sys, json
        import moat_det.offline
        from ultralytics.cfg import get_cfg
        from moat_det.data.config import load_dataset
        from moat_det.data.loader.dataset import DatasetOptions, DetectionDataset
        from moat_det.data.loader import image_cache
        from moat_det.data.loader.images import Images
        from moat_det.data.sizes.policy import FixedSize
        image_cache.is_settled = lambda newest, started: True
        read, seen = Images._read, []
        Images._read = lambda self, i: (seen.append(i), read(self, i))[1]
        data = load_dataset(sys.argv[1])
        args = get_cfg(overrides={"cache": "disk"})
        dataset = DetectionDataset(data, "train", FixedSize((48, 48)), DatasetOptions.of(args, batch=4), args)
        print(json.dumps([len(seen), int(dataset.images.load(1)[0].sum())]))
    """
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(source)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    results = [json.loads(process.communicate(timeout=120)[0].splitlines()[-1]) for process in processes]
    assert sorted(count for count, _ in results) == [0, 6]
    assert results[0][1] == results[1][1]
