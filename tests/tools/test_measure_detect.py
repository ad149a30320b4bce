from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tools import measure_detect

SCRIPT = """
import sys, time
files = open(sys.argv[sys.argv.index("--source") + 1]).read().split()
time.sleep(0.2 + 0.05 * len(files))
sys.exit("no images" if "bad" in sys.argv else 0)
"""


def test_start_up_and_speed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script, images = tmp_path / "detect.py", tmp_path / "images"
    script.write_text(SCRIPT)
    images.mkdir()
    for number in range(8):
        (images / f"{number}.png").touch()
    words = ["--images", str(images), "--repeats", "1", "--commands", f"{sys.executable} {script}"]
    measure_detect.main(words)
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 8
    assert found["one_image_seconds"] > 0.25
    assert 0 < found["images_per_second"] <= 1000
    assert found["peak_mib"] > 1
    with pytest.raises(SystemExit, match="failed: no images"):
        measure_detect.main([*words[:-1], f"{words[-1]} bad"])
