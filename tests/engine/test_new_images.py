from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from moat_det.cli.main import run
from moat_det.demo import generate_demo
from moat_det.engine.model import MOAT
from moat_det.paths import user_cache

MODEL = "backbone: {name: tiny_moat0}\nneck: {channels: [16, 16, 16]}\n"


def test_new_images_are_looked_at_as_the_validation_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    data = Path(generate_demo("set", train=1, val=24, size=(64, 96)))
    (tmp_path / "small.yaml").write_text(MODEL)
    model = MOAT("small.yaml")  # that has learnt nothing, of classes that the labels do not name
    model.save("best.pt")
    data.write_text(yaml.safe_dump({**yaml.safe_load(data.read_text()), "names": dict(model.names)}))
    MOAT("best.pt").val(data=str(data), imgsz=64, workers=0, device="cpu", plots=False, max_det=5)
    # Whatever was written a moment ago is kept: an index of files that are gone would stay for ever.
    monkeypatch.setattr("moat_det.data.index.cache.is_settled", lambda *_: True)
    kept_before = sorted(user_cache().rglob("*"))
    assert run("drift", ["runs/val", "--source", "set/images/val", "--out", "same", "--device", "cpu"]) == 0
    assert sorted(user_cache().rglob("*")) == kept_before
    content = json.loads(Path("same/drift.json").read_text())
    # The very images of the validation: nothing differs.
    assert all(found["distance"] == 0 for found in content["measures"].values())
    assert set(content["measures"]) == {"score", "defects", "brightness", "sharpness"}
    assert "overkill" not in capsys.readouterr().out  # of images without labels nobody knows it
    assert not {"metrics.json", "inspection.json"} & {file.name for file in Path("same/new").iterdir()}
    kept, new = (json.loads((Path(folder) / "settings.json").read_text()) for folder in ("runs/val", "same/new"))
    assert {key for key in kept if kept[key] != new[key]} <= {"split", "chosen_on_same_split", "weights_file"}

    Path("dark").mkdir()
    for image in sorted(Path("set/images/val").iterdir()):
        cv2.imwrite(f"dark/{image.name}", (cv2.imread(str(image)) * 0.6).astype(np.uint8))
    next(Path("dark").iterdir()).rename(os.fsdecode(b"dark/b\xfc.png"))  # which is no UTF-8
    assert run("drift", ["runs/val", "--source", "dark", "--out", "darker", "--device", "cpu"]) == 5
    assert json.loads(Path("darker/drift.json").read_text())["measures"]["brightness"]["changed"]
    # The next day's pictures, in the same folder, which are as those of the validation again; a video is left out.
    Path("darker/new/metrics.json").write_text("of a moat val of this name")
    Path("set/images/val/line.mp4").write_bytes(b"")
    assert run("drift", ["runs/val", "--source", "set/images/val", "--out", "darker", "--device", "cpu"]) == 0
    assert "left out, since they are no images: 1 .mp4" in caplog.text
    assert sorted(file.name for file in Path("darker").iterdir()) == ["drift.json", "drift.png", "new", "new-2"]
    assert not {"metrics.json", "inspection.json"} & {file.name for file in Path("darker/new-2").iterdir()}
    assert Path("darker/new/metrics.json").exists()
    assert run("drift", ["runs/val", "--source", "dark", "--out", "parts", "--group", "^board"]) == 2
    assert "--group ^board: does not match" in capsys.readouterr().err
    assert not Path("parts/new/predictions.json").exists()  # before hours of detecting
    other = MOAT("small.yaml")
    next(other.model.parameters()).data.add_(1)
    other.save("other.pt")
    assert run("drift", ["runs/val", "--source", "dark", "--out", "other", "--weights", "other.pt"]) == 2
    assert "holds other weights than runs/val is of" in capsys.readouterr().err
    assert run("drift", ["runs/val", "--source", "dark", "--out", "other", "--weights", "dark"]) == 2
    assert "dark: is an exported model" in capsys.readouterr().err
    Path("best.pt").unlink()
    assert run("drift", ["runs/val", "--source", "dark", "--out", "none"]) == 2
    assert "give them as --weights" in capsys.readouterr().err
