"""Names of a run's outputs, which lead back to the files that they are of."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path

from moat_det.data.images.suffixes import VIDEO_SUFFIXES
from moat_det.files import one_name

# What the outputs of a frame are called, or lie in: BASE_7, and FOLDER/NAME_frames/NAME_7 of the video FOLDER/NAME.
_OF_FRAME = re.compile(r"(.+)_[1-9][0-9]*", re.DOTALL)
_IN_FRAMES = re.compile(r"((?:.*/)?([^/]+))_frames/\2_[1-9][0-9]*", re.DOTALL)


class OutputNames:
    """Names outputs by the path of their source below the folder that the run reads.

    Args:
        root: That folder; the current one where there is none, or where a source lies elsewhere.
        files: What the run reads. Videos among them are called so that no frame is called as a picture is.
    """

    def __init__(self, root: str | None = None, files: Sequence[str] = ()) -> None:
        self._roots = [os.path.abspath(root)] if root else []
        self._roots.append(os.getcwd())
        self._taken: set[str] = set()
        self._as_frames: set[str] = set()  # of what videos would have frames that are called as pictures are
        self._bases: dict[tuple[str, int], str] = {}
        videos = [file for file in files if _is_video(file)]
        if videos:  # all pictures first, whatever the run comes to first
            for file in files:
                if not _is_video(file):
                    self.base(file)
            for video in videos:
                self.base(video)

    def relative(self, path: str) -> str:
        """Give the path below the folder, with `/`; of what lies elsewhere, the whole path without its beginning."""
        full = Path(os.path.abspath(path))
        for root in self._roots:
            if full.is_relative_to(root):
                return full.relative_to(root).as_posix()
        return full.relative_to(full.anchor).as_posix()

    def base(self, path: str, time: int = 1) -> str:
        """Give what its outputs are called, without a suffix, below the folder of the run: the same at every call.

        The first of several files that differ in their suffix alone goes without it, the others keep it; so does a
        video one of whose frames would be called as a picture. What is looked at again has the number at its end.

        Args:
            path: Of the file, or what a camera or a picture in memory is called.
            time: The how many-th of the pictures it is that are called so.
        """
        if (path, time) not in self._bases:
            taken = self._taken | self._as_frames if _is_video(path) else self._taken
            self._take(path, next(base for base in self._wanted(path, time) if base.casefold() not in taken), time)
        return self._bases[path, time]

    def _wanted(self, path: str, time: int) -> Iterator[str]:
        """Give what outputs may be called, the best first."""
        if time > 1:
            name = f"{self.base(path)}_{time}"
        else:
            name = self.relative(path)
            if not os.path.lexists(path):  # a camera, or a name that somebody gave to a picture in memory
                name = "/".join(map(one_name, name.split("/")))
            yield os.path.splitext(name)[0]
        yield name
        yield from (f"{name}-{number}" for number in count(2))

    def settle(self, files: Iterable[str]) -> None:
        """Name files by the order of their paths, whichever is looked at first, and by whichever process."""
        for file in sorted(files):
            self.base(file)

    def keep(self, path: str, base: str) -> None:
        """Have the outputs of a file called as they were when there were fewer files; to be said before all else."""
        self._take(path, base)

    def _take(self, path: str, base: str, time: int = 1) -> None:
        self._bases[path, time], taken = base, base.casefold()
        self._taken.add(taken)
        if not _is_video(path):
            found = (pattern.fullmatch(taken) for pattern in (_OF_FRAME, _IN_FRAMES))
            self._as_frames.update(match[1] for match in found if match)


def _is_video(path: str) -> bool:
    return os.path.splitext(path)[1][1:].lower() in VIDEO_SUFFIXES


def common_folder(files: Iterable[str]) -> str | None:
    """Give the folder that all files lie in or below; None where there is none, or no file."""
    try:
        return os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in files])
    except ValueError:  # none, or on several drives
        return None
