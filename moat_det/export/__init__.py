"""Writing a detector as a file for other runtimes, kept only if it gives what the checkpoint gives."""

from __future__ import annotations

import moat_det.runtime.backends.silence  # noqa: F401  # before openvino and nncf
from moat_det.export.export import Exported, export_model
from moat_det.export.options import ExportOptions

__all__ = ["ExportOptions", "Exported", "export_model"]
