"""Downloads a file: resumed where it broke off, checked before it gets its name, its SHA-256 recorded."""

from __future__ import annotations

import json
import logging
import os
import ssl
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from moat_det.backbones.weights import checksum
from moat_det.errors import UserError
from moat_det.files import atomic_write_json, locked
from moat_det.progress import progress

logger = logging.getLogger(__name__)

BACK_OFF = 2.0
"""Seconds before the second and last try."""

TIMEOUT = 30.0
"""Seconds without a byte after which a try has failed."""

_CHUNK = 1 << 18
_ABSENT = {403, 404, 410}  # buckets answer 403, too, for what is not there
_NETWORK_ERRORS = (URLError, HTTPException, ConnectionError, TimeoutError, ssl.SSLError, UnicodeError)


class DownloadError(Exception):
    """The file could not be fetched; the message says why."""


class AbsentError(DownloadError):
    """The server does not have the file."""


def download(url: str, path: Path, check: Callable[[Path], None]) -> None:
    """Fetch `url` to `path`, with a progress bar, and record its SHA-256 beside it.

    What has arrived lies in `<path>.part` until all is there. After a break it is kept, and the retry or the
    next call asks for the rest, unless the file on the server is another by then. One process at a time
    downloads a file; others wait and find it done.

    Args:
        url: Address, http or https.
        path: Where the file goes; its folder is made.
        check: Called with the whole file before it gets its name; raises `UserError` if it is not what it should be.

    Raises:
        AbsentError: The server does not have the file.
        DownloadError: There is no connection, or it broke twice.
        OSError: The folder cannot be written.
        UserError: What `check` raises; what was downloaded is deleted then, unless an error of the system is the cause.
    """
    if not url.startswith(("http://", "https://")):
        raise DownloadError("the address must begin with http:// or https://")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    with locked(lock, f"waiting for another process that downloads {path}"):
        if not path.exists():
            _download(url, path, check)


def _download(url: str, path: Path, check: Callable[[Path], None]) -> None:
    part, version = (path.with_name(f"{path.name}.part{ending}") for ending in ("", ".json"))
    try:
        _transfer(url, part, version)
    except AbsentError:
        raise
    except DownloadError as error:
        logger.warning(f"{url}: {error}; trying once more in {BACK_OFF:g} s")
        time.sleep(BACK_OFF)
        _transfer(url, part, version)
    try:
        check(part)
    except UserError as error:
        if not isinstance(error.__cause__, OSError):  # a full disk is no fault of the file's: it is kept
            part.unlink(missing_ok=True)
            version.unlink(missing_ok=True)
        raise
    checksum.record(part, path)
    part.replace(path)
    version.unlink(missing_ok=True)


def _transfer(url: str, part: Path, version: Path) -> None:
    """Try once: bring `part` to its full length; `version` says which file on the server it is a part of."""
    headers = {"User-Agent": "moat_det", "Accept-Encoding": "identity"}
    begun = _read_version(version) if part.exists() else {}
    begun = begun if begun.get("url") == url else {}
    if begun and begun["length"] == part.stat().st_size:
        return
    if begun:
        headers["Range"] = f"bytes={part.stat().st_size}-"
        if begun["validator"]:
            headers["If-Range"] = begun["validator"]
    try:
        with urlopen(Request(url, headers=headers), timeout=TIMEOUT) as response:
            if response.status == 206 and not (begun and _continues(response, part, begun)):
                part.unlink(missing_ok=True)
                raise DownloadError("the server gave another part than the one asked for")
            if response.status != 206:
                part.unlink(missing_ok=True)
                begun = {"url": url, "validator": _validator(response), "length": response.length}
                atomic_write_json(version, begun)
            _receive(response, part, begun["length"])
    except HTTPError as error:
        if error.code == 416:  # more has arrived than there is
            part.unlink(missing_ok=True)
        kind = AbsentError if error.code in _ABSENT else DownloadError
        raise kind(f"HTTP {error.code} {error.reason}") from None
    except _NETWORK_ERRORS as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise DownloadError(" ".join(str(reason).split()) or type(error).__name__) from None


def _receive(response: HTTPResponse, part: Path, length: int | None) -> None:
    with part.open("ab") as file:
        done = file.tell()
        bar = progress(total=length, initial=done, text=part.stem, unit="B", unit_scale=True)
        with bar:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
        done = file.tell()
        file.flush()
        os.fsync(file.fileno())
    if length is not None and done != length:
        raise DownloadError(f"the connection ended after {done} of {length} bytes")


def _validator(response: HTTPResponse) -> str | None:
    """Give what tells this version of the file from later ones, for `If-Range`, which takes no weak ETag."""
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _continues(response: HTTPResponse, part: Path, begun: dict[str, Any]) -> bool:
    """Whether a partial answer (status 206) goes on where `part` ends, in the same version of the file."""
    span, _, total = response.headers.get("Content-Range", "").partition("/")
    return (
        span.startswith(f"bytes {part.stat().st_size}-")
        and total in {"*", str(begun["length"])}
        and _validator(response) in {None, begun["validator"]}
    )


def _read_version(path: Path) -> dict[str, Any]:
    try:
        version = json.loads(path.read_text(encoding="utf-8"))
        return version if version.keys() >= {"url", "validator", "length"} else {}
    except (OSError, ValueError, AttributeError):
        return {}
