from __future__ import annotations

import csv
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from moat_det.backbones.tensorflow import CheckpointError, open_checkpoint
from tools.bundle_writer import Bundle, sample, tar, tar_gz

Write = Callable[[dict[str, bytes]], Path]


def read_all(path: Path) -> dict[str, np.ndarray]:
    with open_checkpoint(path) as checkpoint:
        return {name: checkpoint.read(name) for name in checkpoint.variables}


def assert_is_sample(arrays: dict[str, np.ndarray], shards: int = 1) -> None:
    bundle = sample(shards)
    assert list(arrays) == sorted(bundle.entries)
    for name, entry in bundle.entries.items():
        stored = bundle.shards[entry.shard][entry.offset : entry.offset + entry.size]
        array = arrays[name]
        assert array.shape == entry.shape
        assert array.flags.writeable
        if entry.dtype == 14:  # the upper halves of float32
            assert array.dtype == np.float32
            array = (array.view(np.uint32) >> 16).astype(np.uint16)
            assert not (arrays[name].view(np.uint32) & 0xFFFF).any()
        assert array.tobytes() == stored
    kinds = {"global_step": "int64", "moat/half": "float16", "moat/whole": "int32", "moat/empty": "float32"}
    assert {name: arrays[name].dtype.name for name in kinds} == kinds
    assert arrays["global_step"] == 375000


@pytest.mark.parametrize("folder", ["tiny_moat_0", "tiny_moat_0_no_pe"])
def test_golden_archives(shared: Path, folder: str) -> None:
    home = shared / "golden" / folder
    with (home / "variables.tsv").open() as table, open_checkpoint(home / f"{folder}.tar.gz") as checkpoint:
        rows = list(csv.DictReader(table, delimiter="\t"))
        assert list(checkpoint.variables) == [row["key"] for row in rows]
        for row in rows:
            info, array = checkpoint.variables[row["key"]], checkpoint.read(row["key"])
            assert [list(info.shape), info.dtype] == [json.loads(row["shape"]), row["dtype"]]
            assert [array.shape, array.dtype.name] == [info.shape, info.dtype]
            measured = [array.mean(dtype=np.float64), array.std(dtype=np.float64)]
            assert measured == pytest.approx([float(row["mean"]), float(row["std"])], rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("block_size", [1, 100, 10_000])
def test_layouts(write: Write, shards: int, compress: bool, block_size: int) -> None:
    bundle = sample(shards)
    bundle.compress, bundle.block_size = compress, block_size
    assert_is_sample(read_all(write(bundle.files())), shards)


def test_ways_to_name_a_checkpoint(write: Write, tmp_path: Path) -> None:
    files = sample().files()
    prefix = write(files)
    members = {f"folder/model.ckpt-10{suffix}": content for suffix, content in files.items()}
    for name, content in {"a.tar.gz": tar_gz(members), "b.tar": tar(members), "c": tar_gz(members)}.items():
        (tmp_path / name).write_bytes(content)
    for path in (prefix, Path(f"{prefix}.index"), tmp_path, *(tmp_path / name for name in ("a.tar.gz", "b.tar", "c"))):
        with open_checkpoint(str(path)) as checkpoint:
            assert checkpoint.source == path
        assert_is_sample(read_all(path))


def test_a_type_that_is_not_read_does_not_stand_in_the_way_of_the_others(write: Write) -> None:
    bundle = Bundle.of({"graph": ("string", np.frombuffer(b"\3abc", "S4")), "w": ("float32", np.arange(3.0))})
    with open_checkpoint(write(bundle.files())) as checkpoint:
        assert checkpoint.variables["graph"].dtype == "string"
        assert checkpoint.read("w").tolist() == [0, 1, 2]
        with pytest.raises(CheckpointError, match=r"'graph' is of type string: only float32, .*int32 can be read"):
            checkpoint.read("graph")
        with pytest.raises(KeyError):
            checkpoint.read("absent")


def test_files_beside_the_checkpoint_are_ignored(write: Write, tmp_path: Path) -> None:
    write(sample().files() | {".meta": b"graph"})
    (tmp_path / "._model.ckpt.index").write_bytes(b"what a Mac leaves")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt"')
    assert_is_sample(read_all(tmp_path))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("packed", [False, True])
def test_memory_is_the_model_and_a_part_of_the_checkpoint(write: Write, dtype: str, packed: bool) -> None:
    rng = np.random.default_rng(0)
    shape = (500_000,) if dtype == "float32" else (1_000_000,)
    arrays = {f"w{index}": (dtype, rng.integers(0, 1 << 15, shape)) for index in range(4)}
    path, size = write(files := Bundle.of(arrays).files()), sum(map(len, files.values()))
    if packed:
        path.write_bytes(tar_gz({f"model.ckpt{suffix}": content for suffix, content in files.items()}))
        Path(f"{path}.index").unlink()
    del files
    tracemalloc.start()
    try:
        model = read_all(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size <= sum(array.nbytes for array in model.values()) + 1000 <= 2 * size + 1000
    assert peak - sum(array.nbytes for array in model.values()) < size / 4 + (1 << 20)
