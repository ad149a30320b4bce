"""What is raised where an image is broken and another is to stand in for it."""

from __future__ import annotations


class BrokenImageError(Exception):
    """An image cannot be read; another is to take its place."""
