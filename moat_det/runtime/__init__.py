"""Detection from an exported file, without torch and without the engine.

Needs NumPy, OpenCV, Pillow, and onnxruntime or openvino. Nothing here changes the environment.
"""

from __future__ import annotations

from moat_det.detection.detections import Detections
from moat_det.runtime.detector import RuntimeDetector
from moat_det.runtime.load import load

__all__ = ["Detections", "RuntimeDetector", "load"]
