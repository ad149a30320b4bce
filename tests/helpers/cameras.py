"""Cameras that show what a test wants, in the place of OpenCV's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

SIDE = 64  # pixels of a frame


def play(monkeypatch: pytest.MonkeyPatch, films: dict[str, list[list[int]]]) -> None:
    """Have each address give frames of these shades of gray: a list for each time that it is opened.

    One that ends in .avi says how many there are the first time, as a file does.
    """
    left: dict[str, Iterator[list[int]]] = {address: iter(times) for address, times in films.items()}

    class Camera:
        def __init__(self, address: str) -> None:
            self._said = len(films[address][0]) if address.endswith(".avi") else 0
            self.open(address)

        def open(self, address: str) -> bool:
            film = next(left[address], None)
            self._film, self._opened = iter(film or ()), film is not None
            return self._opened

        def isOpened(self) -> bool:
            return self._opened

        def get(self, what: int) -> float:
            if what == cv2.CAP_PROP_FRAME_COUNT:
                return self._said
            return {cv2.CAP_PROP_FRAME_WIDTH: SIDE, cv2.CAP_PROP_FRAME_HEIGHT: SIDE, cv2.CAP_PROP_FPS: 30}.get(what, 0)

        def grab(self) -> bool:
            self._shade = next(self._film, None)
            return self._shade is not None

        def retrieve(self) -> tuple[bool, Any]:
            if self._shade is None:
                return False, None
            return True, np.full((SIDE, SIDE, 3), self._shade, np.uint8)

        def read(self) -> tuple[bool, Any]:
            self.grab()
            return self.retrieve()

        def release(self) -> None:
            self._opened = False

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
