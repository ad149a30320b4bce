"""What files are images, by the endings of their names."""

from __future__ import annotations

IMAGE_SUFFIXES = frozenset(
    {"avif", "bmp", "dng", "heic", "heif", "jp2", "jpeg", "jpg", "mpo", "png", "tif", "tiff", "webp"}
)
"""Of the images in a folder, in lower case and without the dot."""

VIDEO_SUFFIXES = frozenset({"asf", "avi", "gif", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "ts", "webm", "wmv"})
"""Of the videos in a folder, likewise."""

ARRAY_SUFFIX = ".npy"
"""Of arrays, which are images where they are named; those in a folder may be anything, such as the engine's caches."""

HEIF_SUFFIXES = frozenset({".heic", ".heif"})
"""What Pillow reads by a package of its own, pi-heif."""

BY_PILLOW = HEIF_SUFFIXES | {".avif"}
"""What OpenCV does not read, or does not turn by EXIF."""
