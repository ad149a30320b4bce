"""The demo set: drawn parts with drawn defects, for a first look and for tests on a machine with no data."""

from __future__ import annotations

from moat_det.demo.generate import DEMO, dataset_source, demo_dataset, generate_demo
from moat_det.demo.part import NAMES, SURFACES, draw_part

__all__ = ["DEMO", "NAMES", "SURFACES", "dataset_source", "demo_dataset", "draw_part", "generate_demo"]
