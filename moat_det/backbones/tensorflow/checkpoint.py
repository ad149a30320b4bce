"""A TensorFlow V2 checkpoint: its files, its variables and their tensors."""

from __future__ import annotations

from collections import defaultdict
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from moat_det.backbones.tensorflow.archive import unpack
from moat_det.backbones.tensorflow.bundle import STORED_AS, parse_index
from moat_det.backbones.tensorflow.crc32c import masked_crc32c
from moat_det.backbones.tensorflow.errors import Fault, blame
from moat_det.backbones.tensorflow.table import BEYOND, MAX_TABLE


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open a TensorFlow V2 checkpoint; use it as a context manager, or close it.

    Args:
        path: A folder that holds one checkpoint, a prefix ("folder/model.ckpt"), the `.index` file, or a tar, also
            one compressed with gzip, of one checkpoint. A tar is unpacked to a temporary folder until the checkpoint
            is closed.

    Returns:
        The checkpoint: its index is read and verified, its tensors are not.

    Raises:
        CheckpointError: There is no such file, or it is damaged, or of a kind that cannot be read.
    """
    source = Path(path)
    with blame(source):
        index = _find_index(source)
        if index is not None:
            return Checkpoint(source, index)
        folder = TemporaryDirectory(prefix="moat_det-", ignore_cleanup_errors=True)
        try:
            return Checkpoint(source, unpack(source, Path(folder.name)), folder)
        except BaseException:
            folder.cleanup()
            raise


def _find_index(source: Path) -> Path | None:
    """Give the index file that `source` stands for; None where `source` is another file, an archive for instance."""
    if source.is_dir():
        found = sorted(file.stem for file in source.glob("*.index") if not file.name.startswith("."))
        if not found:
            raise Fault("the folder holds no .index file", "give that of a TensorFlow V2 checkpoint")
        if len(found) > 1:
            names = ", ".join(map(repr, found))
            raise Fault(f"the folder holds {len(found)} checkpoints ({names})", "give the path of one, with its name")
        return source / f"{found[0]}.index"
    prefix = source if source.suffix == ".index" else Path(f"{source}.index")
    if prefix.is_file():
        return prefix
    if not source.is_file():
        raise Fault("there is no such file", "give a folder, a prefix, an .index file or a .tar.gz of a checkpoint")
    return None


class Checkpoint(AbstractContextManager["Checkpoint"]):
    """An open checkpoint.

    Args:
        source: The path that the user gave; errors name it.
        index: The index file; the data files lie beside it.
        folder: The temporary folder that holds them, removed when the checkpoint is closed.

    Attributes:
        source: The path that the user gave.
        variables: What the index says about each variable, by name, sorted.

    Raises:
        CheckpointError: The index is damaged, a data file is missing or too small.
    """

    def __init__(self, source: Path, index: Path, folder: TemporaryDirectory[str] | None = None) -> None:
        self.source = source
        self._folder = folder
        with blame(self._label(index)):
            if index.stat().st_size > MAX_TABLE:
                raise Fault(f"an index of more than {MAX_TABLE} bytes", BEYOND)
            shards, self.variables = parse_index(index.read_bytes())
        names: defaultdict[int, list[str]] = defaultdict(list)
        for name, info in self.variables.items():
            names[info.shard].append(name)
        self._shards: list[Path] = []
        for number in range(shards):  # which may be a lie: one by one, to the first that is missing
            shard = index.with_suffix(f".data-{number:05d}-of-{shards:05d}")
            with blame(self._label(shard)):
                self._check_shard(shard, names[number])
            self._shards.append(shard)

    def _check_shard(self, shard: Path, names: list[str]) -> None:
        """Refuse a data file that does not hold its variables, each in bytes of its own."""
        if not shard.is_file():
            raise Fault("there is no such file")
        size, taken = shard.stat().st_size, 0
        for name in names:
            info = self.variables[name]
            if info.offset + info.size > size:
                raise Fault(f"its {size} bytes end before the variable {name!r} does")
            taken += info.size
        if taken > size:
            raise Fault("its variables overlap")

    def _label(self, file: Path) -> str:
        """Give what errors call a file of the checkpoint."""
        return str(file) if self._folder is None else f"{self.source} (its {file.suffix} file)"

    def read(self, name: str) -> np.ndarray:
        """Read one variable.

        Args:
            name: One of `variables`.

        Returns:
            A writable array in the variable's shape: float32, float16, int32 or int64 as stored, bfloat16 as float32,
            which is exact.

        Raises:
            CheckpointError: The data file is cut short or its checksum wrong, or the variable is of another type.
            KeyError: There is no such variable.
        """
        info = self.variables[name]
        shard = self._shards[info.shard]
        with blame(self._label(shard)):
            if info.dtype not in STORED_AS:
                raise Fault(
                    f"the variable {name!r} is of type {info.dtype}", f"only {', '.join(STORED_AS)} can be read"
                )
            data = np.fromfile(shard, np.uint8, count=info.size, offset=info.offset)
            if len(data) < info.size:
                raise Fault(f"it ends before the variable {name!r} does")
            if masked_crc32c(data.data) != info.checksum:
                raise Fault(f"the checksum of the variable {name!r} is wrong")
        array = data.view(STORED_AS[info.dtype])
        if info.dtype == "bfloat16":
            wide = array.astype(np.uint32)
            wide <<= 16
            array = wide.view(np.float32)
        return array.reshape(info.shape)

    def close(self) -> None:
        """Remove what was unpacked; nothing can be read afterwards."""
        if self._folder is not None:
            self._folder.cleanup()

    def __exit__(self, *exception: object) -> None:
        """Close the checkpoint."""
        self.close()
