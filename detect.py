"""Detect in images and videos: python detect.py --help."""

from moat_det.cli.main import detect

if __name__ == "__main__":
    detect()
