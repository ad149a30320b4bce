"""Measure a detector: python val.py --help."""

from moat_det.cli.main import val

if __name__ == "__main__":
    val()
