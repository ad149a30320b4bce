from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import pytest

from moat_det.detection.shards import DETECTIONS, Shard

# Stands for a shard: a line every few milliseconds; started again it goes on.
PROGRAM = """
import json, sys, time
from pathlib import Path
images, file = Path(sys.argv[1]), Path(sys.argv[2])
number, of = map(int, sys.argv[3].split("/"))
file.parent.mkdir(exist_ok=True)
done = [json.loads(line)["file_name"] for line in file.read_text().splitlines()] if file.exists() else []
for place, image in enumerate(sorted(images.iterdir())):
    if place % of == number - 1 and image.name not in done:
        with file.open("a") as lines:
            lines.write(json.dumps({"file_name": image.name, "detections": []}) + "\\n")
        time.sleep(0.01)
"""

WITH_AN_ACTOR = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(5)", "Actor"])
{PROGRAM}"""


def stands_for(args: Namespace, shard: Shard) -> subprocess.Popen[bytes]:
    file = args.out / shard.folder("detect") / DETECTIONS
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(args.out / "images"), str(file), str(shard)])


def test_a_shard_is_killed_and_each_image_counted(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tool, "start", stands_for)
    words = ["--weights", "best.pt", "--images", "60", "--side", "32", "--out"]
    assert tool.main([*words, str(tmp_path / "out")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["images"], found["lines"], found["missing"], found["more_than_once"]) == (60, 60, 0, 0)
    assert 6 <= found["killed_after"] < 30
    assert json.loads((tmp_path / "out/shards.json").read_text()) == found
    assert tool.main([*words, str(tmp_path / "out")]) == 2


def test_what_is_missing_double_or_strange_is_counted(tool: ModuleType) -> None:
    line = '{{"file_name": "{}", "detections": [{}]}}'.format
    counts = tool.compare(
        [line(name, "") for name in "abc"], [line("a", ""), line("a", ""), line("b", 1), line("x", "")], "abc"
    )
    assert counts == {
        **{"images": 3, "lines": 4, "missing": 1, "more_than_once": 1, "strange": 1},
        **{"found_otherwise_than_alone": 2, "detections": 1},
    }


def test_an_actor_is_killed_and_then_the_command(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    actors: list[subprocess.Popen[bytes]] = []

    def start(args: Namespace, name: str, ray: int) -> subprocess.Popen[bytes]:
        # The actor is a process of the command's.
        actor = (
            "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(20)', 'Actor'])"
        )
        file = args.out / name / DETECTIONS
        words = [sys.executable, "-c", actor + PROGRAM, str(args.out / "images"), str(file), "1/1"]
        actors.append(subprocess.Popen(words))
        return actors[-1]

    monkeypatch.setattr(tool, "start", stands_for)
    monkeypatch.setattr(tool, "_start", start)
    words = ["--weights", "best.pt", "--images", "60", "--side", "32", "--ray", "2", "--out", str(tmp_path / "out")]
    assert tool.main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["lines"], found["missing"], found["more_than_once"]) == (60, 0, 0)
    assert len(actors) == 2
    assert actors[0].returncode < 0
