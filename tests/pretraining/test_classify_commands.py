"""`moat classify train`, `val` and `predict`, and a detector that starts from what they learnt."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from helpers.classes import write_pictures
from moat_det.backbones import create_backbone
from moat_det.backbones.weights import load_pretrained
from moat_det.cli.main import main, run
from moat_det.detector.build import build_model, find_config
from moat_det.engine.fine_tuning import load_weights
from moat_det.pretraining.backbone import backbone_arguments
from moat_det.pretraining.classification.folders import find_classes
from moat_det.pretraining.classification.task import ClassificationTask
from moat_det.pretraining.loop import Loop


def train(*words: object) -> int:
    return run("classify train", [str(word) for word in words])


@pytest.fixture
def usual(pictures: Path, small_yaml: Path, tmp_path: Path) -> list[object]:
    return [
        *("--data", pictures, "--backbone", small_yaml, "--imgsz", 32, "--epochs", 4, "--batch", 8, "--plain"),
        *("--device", "cpu", "--project", tmp_path / "runs", "--workers", 0, "--lr0", 0.003),
    ]


def test_from_pictures_to_names(
    usual: list[object], pictures: Path, small_yaml: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], log: Any
) -> None:
    assert train(*usual) == 0
    folder = tmp_path / "runs" / "classification"
    best = folder / "weights" / "best.pt"
    figures = json.loads((folder / "metrics.json").read_text())
    assert (figures["top1"], figures["top5"], figures["images"]) == (1.0, 1.0, 8)
    assert figures["per_class"]["dark"] == {"images": 4, "recall": 1.0, "precision": 1.0}
    assert (folder / "confusion_matrix.png").stat().st_size > 1000
    assert "top-1 1.0000" in capsys.readouterr().out
    content = torch.load(best, weights_only=True)
    learnt = {"split": None, "seed": 0, **find_classes(pictures).contents()}
    assert content["settings"] == {"names": ["bright", "dark"], "view": None, "learnt": learnt}
    assert content["backbone"]["name"] == "small"
    assert len(content["mean"]) == 3
    assert content["training"] is None

    val = ["--weights", best, "--data", pictures, "--device", "cpu", "--project", tmp_path / "runs"]
    assert run("classify val", [str(word) for word in val]) == 0
    again = json.loads((tmp_path / "runs" / "classify-val" / "metrics.json").read_text())
    assert again == figures

    content["weights"] |= {name: tensor * torch.nan for name, tensor in content["weights"].items() if "head" in name}
    torch.save(content, failed := tmp_path / "failed.pt")
    assert run("classify val", [str(failed if word == best else word) for word in val]) == 0
    assert "the scores of 8 of 8 pictures are no numbers, which count as wrong" in "\n".join(log)
    assert json.loads((tmp_path / "runs" / "classify-val-2" / "metrics.json").read_text())["top1"] == 0
    assert run("classify predict", ["--weights", str(failed), "--source", str(pictures / "val")]) == 2
    assert "00.png: the classifier's scores are no numbers" in capsys.readouterr().err

    source = pictures / "val" / "dark"
    found = tmp_path / "found.json"
    words = ["--weights", best, "--source", source, "--save-json", found, "--device", "cpu"]
    assert run("classify predict", [str(word) for word in words]) == 0
    assert [entry["classes"][0]["name"] for entry in json.loads(found.read_text())] == ["dark"] * 4

    assert run("val", ["--weights", str(best), "--data", "demo"]) == 2
    assert "holds a backbone that was trained alone, and no detector" in capsys.readouterr().err

    # a detector starts from it; its head is dropped, and that is said
    model = build_model(find_config(small_yaml), 2)
    log.clear()
    load_weights(model, str(best), remap_classes=True)
    said = "\n".join(log)
    assert "dropped classification head (4 tensors)" in said
    assert "neck and head left at random" in said
    backbone = dict(model.backbone.named_parameters())
    assert all(torch.equal(parameter, content["weights"][f"backbone.{name}"]) for name, parameter in backbone.items())


def test_deep_pictures_are_read_alike_in_training_and_use(
    usual: list[object], pictures: Path, tmp_path: Path, capsys: Any
) -> None:
    """Of 16 bits in the validation alone, and everywhere: what the training measures, the other commands measure."""
    for name, deep in (("half", False), ("whole", True)):
        folder = tmp_path / name
        write_pictures(folder / "train", 12, deep=deep)
        write_pictures(folder / "val", 4, deep=True)
        words = [folder if word == pictures else word for word in usual]
        assert train(*words, "--name", f"{name}-run") == 0
        run_folder = tmp_path / "runs" / f"{name}-run"
        figures = json.loads((run_folder / "metrics.json").read_text())
        assert figures["top1"] == 1
        best = str(run_folder / "weights" / "best.pt")
        val = ["--weights", best, "--data", str(folder), "--device", "cpu", "--project", str(tmp_path), "--name", name]
        assert run("classify val", [*val, "--exist-ok"]) == 0
        assert json.loads((folder / "metrics.json").read_text()) == figures
        capsys.readouterr()
        assert run("classify predict", ["--weights", best, "--source", str(folder / "val"), "--top", "1"]) == 0
        shown = [line for line in capsys.readouterr().out.splitlines() if ".png: " in line]
        assert len(shown) == 8
        assert all(Path(line.partition(": ")[0]).parent.name in line.partition(": ")[2] for line in shown)


def test_a_picture_that_breaks_is_told_once_in_a_run(
    usual: list[object], pictures: Path, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [pictures / split / "dark" / "00.png" for split in ("train", "val")]
    run_loop = Loop.run

    def cut_files(self: Loop) -> None:
        for file in broken:  # after the pictures were looked at
            file.write_bytes(file.read_bytes()[:60])
        run_loop(self)

    monkeypatch.setattr(Loop, "run", cut_files)
    assert train(*usual) == 0
    for file in broken:
        assert sum(f"{file}: left out" in line for line in log) == 1


def test_what_training_measures_of_divided_folders_the_other_command_measures(
    usual: list[object], pictures: Path, tmp_path: Path
) -> None:
    words = [pictures / "train" if word == pictures else word for word in usual]
    words[words.index("--epochs") + 1] = 1
    assert train(*words, "--split", 0.25, "--seed", 3) == 0
    runs = tmp_path / "runs"
    best = runs / "classification" / "weights" / "best.pt"
    val = ["--weights", best, "--data", pictures / "train", "--device", "cpu", "--project", runs]
    assert run("classify val", [str(word) for word in val]) == 0
    figures = [json.loads((runs / name / "metrics.json").read_text()) for name in ("classification", "classify-val")]
    assert figures[0] == figures[1]
    assert figures[0]["images"] == 6


def test_a_classifier_of_timms(usual: list[object], tmp_path: Path) -> None:
    words = ["timm/test_convnext" if word == usual[3] else word for word in usual]
    words[words.index("--epochs") + 1] = 1
    assert train(*words, "--drop-path", 0.1) == 0
    best = tmp_path / "runs" / "classification" / "weights" / "best.pt"
    backbone = create_backbone("timm/test_convnext")
    report = load_pretrained(backbone, best)
    assert any("logits_head" in note for note in report.notes)
    weights = torch.load(best, weights_only=True)["weights"]
    assert all(torch.equal(tensor, weights[f"backbone.{name}"]) for name, tensor in backbone.state_dict().items())


def test_a_stopped_training_goes_on_bit_for_bit(
    usual: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    augmented = [word for word in usual if word != "--plain"]
    augmented[augmented.index("--epochs") + 1] = 2
    assert train(*augmented, "--name", "whole") == 0
    loss, calls = ClassificationTask.loss, []

    def stop(self: ClassificationTask, model: Any, batch: Any) -> Tensor:
        calls.append(batch)
        if len(calls) == 5:  # the second batch of three of the second epoch
            signal.raise_signal(signal.SIGINT)
        return loss(self, model, batch)

    with monkeypatch.context() as patch:
        patch.setattr(ClassificationTask, "loss", stop)
        assert train(*augmented, "--name", "cut") == 130
    last = tmp_path / "runs" / "cut" / "weights" / "last.pt"
    assert train("--resume", last, "--device", "cpu", "--epochs", 3) == 2
    assert "--epochs: a run that is resumed keeps its own" in capsys.readouterr().err
    assert train("--resume", last, "--device", "cpu", "--workers", 1) == 0
    whole, cut = (tmp_path / "runs" / name for name in ("whole", "cut"))
    for name in ("results.csv", "metrics.json"):
        assert (whole / name).read_bytes() == (cut / name).read_bytes()
    first, second = (torch.load(run / "weights" / "last.pt", weights_only=True)["weights"] for run in (whole, cut))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert train("--resume", last) == 2
    assert "is of a finished training" in capsys.readouterr().err


def test_a_resumed_run_needs_its_pictures(
    usual: list[object], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ClassificationTask, "measure", lambda *_: signal.raise_signal(signal.SIGINT))
        patch.chdir(tmp_path)
        assert train(*[word.name if word == pictures else word for word in usual]) == 130
    options = json.loads((tmp_path / "runs" / "classification" / "options.json").read_text())
    assert options["classifier"]["data"] == str(pictures), "a run may go on from another working folder"
    (pictures / "train" / "dark" / "00.png").unlink()
    assert train("--resume", tmp_path / "runs" / "classification" / "weights" / "last.pt") == 2
    assert "its pictures are others" in capsys.readouterr().err


def test_a_rate_of_dropped_branches_stands_before_that_of_the_model(small_yaml: Path) -> None:
    assert backbone_arguments(str(small_yaml))["drop_path"] == 0.2
    assert backbone_arguments(str(small_yaml), 0.1)["drop_path"] == 0.1


def test_help_without_an_action_lists_them(capsys: Any) -> None:
    main(["classify", "--help"])
    shown = capsys.readouterr().out
    assert shown.startswith("usage: moat classify COMMAND ...")
    assert all(f"classify {action} " in shown for action in ("train", "val", "predict"))
    assert "export" not in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["classify"], "moat classify: say what to do: moat classify train, moat classify val, moat classify predict"),
        (["classify", "--weights", "w.pt"], "moat classify: say what to do"),
        (["classify", "train", "--epochs", "3"], "moat classify train needs --data"),
        (["classify", "train", "--data", "absent"], "--data absent: there is no such folder"),
        (["classify", "train", "--data", "PICTURES", "--backbone", "tiny_moat9"], "no model is named 'tiny_moat9'"),
        (["classify", "train", "--data", "PICTURES", "--imgsz", "4"], "--imgsz 4: must be 8 or more"),
        (
            ["classify", "train", "--data", "PICTURES", "--imgsz", "40", "--backbone", "mobilevit_xxs"],
            "--imgsz 40: mobilevit_xxs takes multiples of 32",
        ),
        (["classify", "train", "--data", "PICTURES", "--weights", "absent.pt"], "no weights at absent.pt"),
        (["classify", "train", "--data", "PICTURES", "--optimizer", "lion"], "there is no such optimizer"),
        (["classify", "train", "--resume", "absent.pt"], "no weights at absent.pt"),
        (
            ["classify", "train", "--data", "PICTURES", "--device", "cpu,cpu"],
            "--device cpu,cpu: this command computes on",
        ),
        (["classify", "train", "--resume", "a.pt", "--device", "0,1"], "on one device; give one, such as 0"),
        (
            ["classify", "predict", "--weights", "a.pt", "--source", "PICTURES", "--device", "0,1"],
            "give one, such as 0",
        ),
        (["pretrain", "--source", "PICTURES", "--device", "0,1"], "--device 0,1: this command computes on one device"),
        (["classify", "val", "--weights", "absent.pt", "--data", "PICTURES"], "no weights at absent.pt"),
    ],
)
def test_mistakes_end_in_a_line(
    words: list[str], message: str, pictures: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main([str(pictures) if word == "PICTURES" else word for word in words])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert message in error.splitlines()[-1]
    assert not (tmp_path / "runs").exists()
