"""Names of a run's outputs, which lead back to the files that they are of."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from moat_det.files import one_name


class OutputNames:
    """Names outputs by the path of their source below the folder that the run reads.

    Args:
        root: That folder; the current one where there is none, or where a source lies elsewhere.
    """

    def __init__(self, root: str | None = None) -> None:
        self._roots = [os.path.abspath(root)] if root else []
        self._roots.append(os.getcwd())
        self._taken: set[str] = set()
        self._bases: dict[str, str] = {}

    def relative(self, path: str) -> str:
        """Give the path below the folder, with `/`; of what lies elsewhere, the whole path without its beginning."""
        full = Path(os.path.abspath(path))
        for root in self._roots:
            if full.is_relative_to(root):
                return full.relative_to(root).as_posix()
        return full.relative_to(full.anchor).as_posix()

    def base(self, path: str) -> str:
        """Give what its outputs are called, without a suffix, below the folder of the run: the same at every call.

        The first of several files that differ in their suffix alone goes without it, the others keep it.
        """
        if path not in self._bases:
            name = self.relative(path)
            if not os.path.lexists(path):  # a camera, or a name that somebody gave to a picture in memory
                name = "/".join(map(one_name, name.split("/")))
            stem, base, number = os.path.splitext(name)[0], "", 1
            for base in (stem, name):
                if base.casefold() not in self._taken:
                    break
            while base.casefold() in self._taken:
                number += 1
                base = f"{name}-{number}"
            self._taken.add(base.casefold())
            self._bases[path] = base
        return self._bases[path]


def common_folder(files: Iterable[str]) -> str | None:
    """Give the folder that all files lie in or below; None where there is none, or no file."""
    try:
        return os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in files])
    except ValueError:  # none, or on several drives
        return None
