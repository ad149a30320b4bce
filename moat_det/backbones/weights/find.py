"""From what a user calls the weights to a file: a path, or a released checkpoint, downloaded if need be."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from moat_det.backbones.weights import checksum
from moat_det.backbones.weights.download import AbsentError, DownloadError, download
from moat_det.backbones.weights.files import open_weights
from moat_det.backbones.weights.identify import has_tables, identify
from moat_det.backbones.weights.releases import BASE_URL, RELEASED, Release
from moat_det.errors import UserError
from moat_det.paths import weights_dir


def find_weights(source: str | Path) -> Path:
    """Give the file of a released checkpoint, or of a path.

    Args:
        source: A name in `RELEASED`, or a path as `open_weights` takes it.

    Raises:
        UserError: There is nothing of that name, or it cannot be downloaded.
    """
    if str(source) in RELEASED:
        return find_release(RELEASED[str(source)])
    return find_path(source, f", or one of {', '.join(RELEASED)}")


def find_path(source: str | Path, others: str = "") -> Path:
    """Give the path of weights; `others` is what could have been named instead.

    Raises:
        UserError: There is no such file.
    """
    path = Path(source).expanduser()
    if not path.exists() and not Path(f"{path}.index").exists():
        raise UserError(f"no weights at {path}: give a file, 'imagenet'{others}")
    return path


def find_release(release: Release, base_url: str | None = None, *, converted: bool = True) -> Path:
    """Give the file of a released checkpoint in `weights_dir()`: ours if it was converted, else the archive.

    Without one, the archive is downloaded, by its newer name or, where the server lacks that, by the older.

    Args:
        release: Which.
        base_url: The folder of the archives on a server; None: `$MOAT_DET_WEIGHTS_URL`, else Google's.
        converted: Whether a converted file will do; to convert anew, the archive alone does.

    Raises:
        UserError: The file is not what it was when it was downloaded, or cannot be downloaded.
    """
    folder = weights_dir()
    ours = (f"{release.name}.safetensors",) if converted else ()
    for name in (*ours, *release.archives):
        if (folder / name).is_file():
            checksum.verify(folder / name)
            return folder / name
    urls = release.urls(base_url or os.environ.get("MOAT_DET_WEIGHTS_URL") or BASE_URL)
    by_hand = f"fetch {urls[0]} where there is one, and put it into {folder} as {release.archives[0]}"
    if os.environ.get("MOAT_DET_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        raise UserError(f"{release.name} is not in {folder}, and MOAT_DET_OFFLINE forbids the network: {by_hand}")
    try:
        return _fetch(release, urls, folder)
    except DownloadError as error:
        raise UserError(f"{release.name} is not in {folder} and cannot be downloaded ({error}): {by_hand}") from None
    except OSError as error:
        raise UserError(f"cannot write to {folder} ({error}): set MOAT_DET_WEIGHTS to another folder") from None


def _fetch(release: Release, urls: tuple[str, str], folder: Path) -> Path:
    for url, archive in zip(urls, release.archives, strict=True):
        try:
            download(url, folder / archive, partial(_check, release, url))
        except AbsentError as error:
            absent = error
        else:
            return folder / archive
    raise absent


def _check(release: Release, url: str, path: Path) -> None:
    """Refuse a download that is no checkpoint, a page of a proxy for example, or another one."""
    try:
        with open_weights(path) as file:
            found = identify(file), has_tables(file)
    except UserError as error:
        if isinstance(error.__cause__, OSError):
            raise
        raise UserError(f"what {url} gives is no checkpoint, nothing was kept: {error}") from None
    if found != (release.variant, release.position_embedding):
        raise UserError(f"what {url} gives holds {_describe(*found)}, not {release.name}: nothing was kept")


def _describe(variant: str | None, tables: bool) -> str:
    return f"{variant or 'no known variant'} {'with' if tables else 'without'} position embedding"
