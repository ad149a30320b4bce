"""Import it before openvino or nncf, which tell their makers of every import and conversion: here they do not.

Both take a stub of their own where their package `openvino_telemetry` cannot be imported.
"""

from __future__ import annotations

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # what makes an import fail
