"""Writing a detector as a file for other runtimes, kept only if it gives what the checkpoint gives."""

from __future__ import annotations

from moat_det.export.export import Exported, export_model
from moat_det.export.options import ExportOptions

__all__ = ["ExportOptions", "Exported", "export_model"]
