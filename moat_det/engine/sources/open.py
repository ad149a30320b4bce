"""From what a user names as a source to what the engine's predictor takes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from ultralytics.data.build import check_source

from moat_det.data.images.intensity import Intensity
from moat_det.engine.sources.cameras import Cameras
from moat_det.engine.sources.files import ImageFiles
from moat_det.engine.sources.in_memory import ELSEWHERE, ImageItems, is_url


def open_source(
    source: Any,
    intensity: Intensity,
    channels: int,
    batch: int = 1,
    vid_stride: int = 1,
    frames: bool = False,
    buffer: bool = False,
) -> Any:
    """Open files, cameras, lists and images in memory; what else there is, such as a screen, stays for the engine.

    Args:
        source: Image, folder, glob, list file, video, camera number, address of a stream, screen, array, picture,
            tensor; or a list, tuple or iterator of paths, arrays and pictures.
        intensity: How more than 8 bits become 8.
        channels: Bands of the model's input.
        batch: Most images in a batch.
        vid_stride: Of a video, one frame in so many is read.
        frames: The images of a folder are frames of a sequence.
        buffer: Of a camera, give all frames and not the newest.

    Raises:
        ConnectionError: A camera cannot be opened.
        FileNotFoundError: There is no such file, none of them is an image or a video, or a list is empty.
        ValueError: A tensor is no batch of images, or the source is a web address, from which nothing is loaded.
    """
    if isinstance(source, (list, tuple, Iterator)):
        return ImageItems(source, intensity, channels, batch)
    if isinstance(source, (np.ndarray, Image.Image)):
        return ImageItems([source], intensity, channels, batch)
    if isinstance(source, Tensor):
        _check_tensor(source, channels)
    if not isinstance(source, (str, int, Path)):
        return source
    name = str(source)
    if is_url(name):  # before the engine, which asks what is there
        raise ValueError(f"{ELSEWHERE}, or write the address of a camera into a file NAME.streams")
    if isinstance(source, int) or _is_live(name):
        opened, camera, *_ = check_source(name)
        return Cameras(opened, intensity, vid_stride, buffer, channels) if camera else opened
    if not name.strip():
        raise FileNotFoundError("it is empty")
    return ImageFiles(name, intensity, channels, batch, vid_stride, frames)


def _check_tensor(source: Tensor, channels: int) -> None:
    if source.ndim not in {3, 4} or source.shape[-3] != channels:
        raise ValueError(f"a tensor must be (B, {channels}, H, W), {'RGB, ' * (channels == 3)}in [0, 1]")
    if source.is_floating_point() and not source.isfinite().all():
        raise ValueError("the tensor holds NaN or infinities")


def _is_live(source: str) -> bool:
    """Whether it is a camera, a stream or a screen, and no file."""
    text = source.lower()
    if text.endswith(".streams"):
        return True
    if os.path.exists(source):  # a folder may be called by a date
        return False
    if text.isnumeric() or text.startswith(("rtsp://", "rtmp://", "tcp://")):
        return True
    return text == "screen" or text.startswith("screen ")
