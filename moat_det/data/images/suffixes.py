"""What files are images, by the endings of their names."""

from __future__ import annotations

# What OpenCV does not read: targa, PC Paintbrush, and other formats of cameras, scanners and editors.
_PILLOW_ALONE = frozenset({"dds", "dib", "icb", "pcx", "psd", "qoi", "sgi", "tga", "vda", "vst"})

IMAGE_SUFFIXES = _PILLOW_ALONE | {
    *("apng", "avif", "bmp", "dng", "heic", "heif", "j2c", "j2k", "jfif", "jp2", "jpc", "jpe", "jpeg", "jpf", "jpg"),
    *("jpx", "mpo", "pam", "pbm", "pgm", "png", "pnm", "ppm", "ras", "sr", "tif", "tiff", "webp"),
}
"""Of the images in a folder, in lower case and without the dot."""

VIDEO_SUFFIXES = frozenset({"asf", "avi", "gif", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "ts", "webm", "wmv"})
"""Of the videos in a folder, likewise."""

ARRAY_SUFFIX = ".npy"
"""Of arrays, which are images where they are named; those in a folder may be anything, such as the engine's caches."""

HEIF_SUFFIXES = frozenset({".heic", ".heif"})
"""What Pillow reads by a package of its own, pi-heif."""

BY_PILLOW = HEIF_SUFFIXES | {".avif"} | {f".{suffix}" for suffix in _PILLOW_ALONE}
"""What OpenCV does not read, or does not turn by EXIF."""
