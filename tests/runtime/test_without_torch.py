"""The runtime imports neither torch nor the engine, and changes no environment variable."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import os, sys
import cv2  # sets variables of its own

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "ultralytics", "matplotlib", "albumentations"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
before = dict(os.environ)
import moat_det.runtime
assert dict(os.environ) == before
known = set(sys.stdlib_module_names) | {"cv2", "numpy", "PIL", "moat_det", "_distutils_hack", "__main__"}
print(sorted({name.split(".")[0] for name, module in sys.modules.items() if module} - known))
"""


def test_what_it_needs() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
