"""Datasets: what a YAML names, the labels and the images it leads to, and their way to the engine."""

from __future__ import annotations

# Runs before any module of this package imports the engine.
import moat_det.offline  # noqa: F401
