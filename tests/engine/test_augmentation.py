from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from moat_det.data.augment import load_preset
from moat_det.engine import MOAT
from moat_det.engine.arguments import training_defaults
from moat_det.errors import UserError

OWN = """\
engine: {mosaic: 0.25, fliplr: 0.0, copy_paste: 0.5, close_mosaic: 1}
quarter_turns: 0.5
transforms: [{RandomGamma: {gamma_limit: [70, 140], p: 0.5}}]
"""
SMALL = {"imgsz": 64, "batch": 8, "workers": 0, "plots": False, "device": "cpu"}


def make(model: Path, demo: Path, project: Path, **given: Any) -> Any:
    return MOAT(model).make_trainer(data=str(demo), project=str(project), **SMALL, **given)


def test_command_line_over_preset_over_our_defaults_over_the_engines(
    demo: Path, model_yaml: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(OWN)
    settings = tmp_path / "settings.yaml"
    settings.write_text("mosaic: 0.75\n")
    plain = make(model_yaml, demo, tmp_path)
    assert (plain.args.mosaic, plain.args.fliplr, plain.args.copy_paste) == (1.0, 0.5, 0.0)
    trainer = make(model_yaml, demo, tmp_path, augmentation=tmp_path / "mine.yaml", fliplr=0.125, cfg=str(settings))
    assert trainer.args.mosaic == 0.75  # of --cfg
    assert trainer.args.fliplr == 0.125  # of the command line
    assert trainer.args.copy_paste == 0.5  # of the preset
    assert trainer.args.lr0 == training_defaults()["lr0"]
    assert trainer.args.translate == plain.args.translate
    options = yaml.safe_load((trainer.save_dir / "options.yaml").read_text())
    assert options["augmentation"] == load_preset(tmp_path / "mine.yaml").to_dict()
    assert yaml.safe_load((plain.save_dir / "options.yaml").read_text())["augmentation"] is None


def test_a_mistake_in_it_leaves_no_folder_behind(demo: Path, model_yaml: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--augmentation bord: none is called so .did you mean 'board'"):
        make(model_yaml, demo, tmp_path / "runs", augmentation="bord")
    with pytest.raises(UserError, match=r"no split 'vall' in it"):
        make(model_yaml, demo, tmp_path / "runs", split="vall")
    assert not (tmp_path / "runs").exists()


def test_a_resumed_run_keeps_its_augmentation(demo: Path, model_yaml: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(OWN)
    preset = load_preset(tmp_path / "mine.yaml")

    class Cut(Exception):
        pass

    def cut(trainer: Any) -> None:
        if trainer.epoch == 0:
            raise Cut

    model = MOAT(model_yaml)
    model.add_callback("on_model_save", cut)
    with pytest.raises(Cut):
        model.train(data=str(demo), epochs=2, project=str(tmp_path), augmentation=tmp_path / "mine.yaml", **SMALL)
    (tmp_path / "mine.yaml").unlink()
    last = tmp_path / "train/weights/last.pt"
    resumed = MOAT(last).make_trainer(resume=True)
    assert (resumed.args.mosaic, resumed.args.copy_paste, resumed.args.close_mosaic) == (0.25, 0.5, 1)
    resumed.model = MOAT(last).model
    dataset = resumed.build_dataset(resumed.data["train"])
    assert dataset.preset == preset
    assert dataset.copy_paste is not None
