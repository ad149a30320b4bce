from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from ultralytics.cfg import get_cfg

from helpers.datasets import open_dataset
from moat_det.data.loader.dataset import DetectionDataset
from moat_det.data.loader.loader import Loader, default_workers, killed_workers_explained, make_loader
from moat_det.data.sizes.policy import Batch
from moat_det.errors import UserError

MakeSet = Callable[[dict[str, str | None]], Path]
FILES = {f"{i:02}.png": f"{i % 3} 0.5 0.5 0.25 0.5\n" for i in range(13)}
CPU = torch.device("cpu")


def open_train(source: Path, batch: int = 4, **settings: Any) -> DetectionDataset:
    given = {"mosaic": 0.7, "mixup": 0.3, "degrees": 10.0, **settings}
    return open_dataset(source, batch=batch, on_broken="replace", **given)


def epochs(loader: Loader, numbers: tuple[int, ...] = (0, 1)) -> list[dict[str, Any]]:
    batches: list[dict[str, Any]] = []
    for number in numbers:
        loader.start_epoch(number)
        batches += list(loader)
    loader.close()
    return batches


def assert_same(ours: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    assert len(ours) == len(others)
    for one, other in zip(ours, others, strict=True):
        assert one.keys() == other.keys()
        assert one["im_file"] == other["im_file"]
        for key in ("img", "cls", "bboxes", "batch_idx"):
            assert torch.equal(one[key], other[key]), key


def test_the_number_of_workers_changes_no_batch(make_set: MakeSet) -> None:
    source = make_set(FILES)
    none, one, two = (epochs(make_loader(open_train(source), n, CPU, shuffle=True)) for n in (0, 1, 2))
    assert_same(none, one)
    assert_same(none, two)
    assert none[0]["im_file"] != none[4]["im_file"]  # an order of its own for each epoch


def test_a_later_start_gives_what_the_whole_run_gave(make_set: MakeSet) -> None:
    source = make_set(FILES)
    whole = epochs(make_loader(open_train(source), 1, CPU, shuffle=True), (0, 1, 2))
    assert_same(whole[-4:], epochs(make_loader(open_train(source), 1, CPU, shuffle=True), (2,)))


def test_starting_workers_draws_nothing_from_the_trainings_generator(make_set: MakeSet) -> None:
    dataset = open_train(make_set(FILES))
    drawn = []
    for workers in (0, 2):
        torch.manual_seed(5)
        epochs(make_loader(dataset, workers, CPU, shuffle=True))
        drawn.append(torch.rand(3).tolist())
    assert drawn[0] == drawn[1]


def test_a_reset_shows_the_workers_the_dataset_as_it_is_now(make_set: MakeSet) -> None:
    dataset = open_train(make_set(FILES), mosaic=1.0)
    loader = make_loader(dataset, 1, CPU, shuffle=True)
    loader.start_epoch(0)
    next(iter(loader))
    hyp = get_cfg(overrides={"imgsz": 64, "mosaic": 0.0})
    dataset.transforms = dataset.build_transforms(hyp)
    loader.reset()
    found = epochs(loader, (0,))
    fresh = open_train(Path(dataset.im_files[0]).parents[2] / "data.yaml", mosaic=0.0, mixup=0.0, degrees=0.0)
    assert_same(found, epochs(make_loader(fresh, 0, CPU, shuffle=True), (0,)))


def test_the_last_part_of_a_batch_is_kept_or_dropped(make_set: MakeSet) -> None:
    source = make_set(FILES)
    dataset = open_train(source)
    sizes = {drop: [len(b["img"]) for b in make_loader(dataset, 0, CPU, True, drop)] for drop in (False, True)}
    assert sizes == {False: [4, 4, 4, 1], True: [4, 4, 4]}
    assert [len(b["img"]) for b in make_loader(dataset, 0, CPU)] == [4, 4, 4, 1]
    (batch,) = make_loader(open_train(source, batch=64), 0, CPU, shuffle=True, drop_last=True)
    assert len(batch["img"]) == 13


def test_given_batches_are_taken_as_they_are(make_set: MakeSet) -> None:
    dataset = open_train(make_set(FILES))
    dataset.batches = [Batch([3, 1], (64, 64)), Batch([0], (64, 64))]
    loader = make_loader(dataset, 0, CPU)
    assert [[Path(f).name for f in batch["im_file"]] for batch in loader] == [["03.png", "01.png"], ["00.png"]]


def test_workers_are_no_more_than_batches_and_none_on_a_cpu_by_default(make_set: MakeSet) -> None:
    source = make_set(FILES)
    for batch, workers in ((4, 2), (12, 2), (13, 0)):
        assert make_loader(open_train(source, batch), 2, CPU).num_workers == workers
    assert default_workers(CPU) == 0
    assert 1 <= default_workers(torch.device("cuda")) <= 8


@pytest.mark.parametrize(("cores", "processes", "workers"), [(64, 8, 8), (64, 1, 8), (16, 4, 4), (8, 16, 1)])
def test_processes_share_the_cores(cores: int, processes: int, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moat_det.data.loader.loader.available_cores", lambda: cores)
    assert default_workers(torch.device("cuda"), processes) == workers
    assert default_workers(CPU, processes) == 0


class Threads(torch.utils.data.Dataset):
    """Gives the threads that a worker may use."""

    batches = (Batch([0], (1, 1)), Batch([1], (1, 1)))

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> tuple[int, int]:
        return cv2.getNumThreads(), torch.get_num_threads()

    collate_fn = staticmethod(list)


def test_a_worker_uses_one_thread() -> None:
    assert list(make_loader(Threads(), 2, CPU)._get_iterator()) == [[(1, 1)], [(1, 1)]]  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="the system does not tell who sends a signal")
def test_a_signal_to_all_processes_ends_no_worker_and_its_parent_does(make_set: MakeSet) -> None:
    loader = make_loader(open_train(make_set(FILES), batch=2), 1, CPU, shuffle=True)
    loader.start_epoch(0)
    batches = iter(loader)
    next(batches)
    worker = loader._iterator._workers[0]
    for name in ("INT", "HUP", "TERM"):
        subprocess.run(["kill", f"-{name}", str(worker.pid)], check=True)
    assert len(list(batches)) == len(loader) - 1
    assert worker.is_alive()
    worker.terminate()
    worker.join(20)
    assert worker.exitcode == 0
    loader.close()


def test_a_killed_worker_is_one_line(make_set: MakeSet) -> None:
    loader = make_loader(open_train(make_set(FILES), batch=1), 1, CPU)

    def train() -> Iterator[None]:
        for number, _ in enumerate(loader):
            if number == 0:
                os.kill(loader._iterator._workers[0].pid, signal.SIGKILL)
            yield

    told = r"a process that reads images ended .*--workers"
    with pytest.raises(UserError, match=told) as caught, killed_workers_explained():
        list(train())
    assert "\n" not in str(caught.value)
    loader.close()


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match=r"^out of memory$"), killed_workers_explained():
        raise RuntimeError("out of memory")


def test_a_drawn_replacement_is_the_same_with_any_number_of_workers(make_set: MakeSet) -> None:
    source = make_set(FILES)
    broken = source.parent / "images/train/03.png"
    found = []
    for workers in (0, 2):
        dataset = open_train(source)
        content = broken.read_bytes()
        broken.unlink()
        found.append(epochs(make_loader(dataset, workers, CPU, shuffle=True)))
        broken.write_bytes(content)
    assert_same(*found)
    assert not any(str(broken) in batch["im_file"] for batch in found[0])
    assert sum(len(batch["img"]) for batch in found[0]) == 2 * len(FILES)
    assert np.all([batch["img"].shape[1:] == (3, 64, 64) for batch in found[0]])
