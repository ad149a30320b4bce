"""Measure a detector: python val.py --help."""

from moat_det.engine.cli import val

if __name__ == "__main__":
    val()
