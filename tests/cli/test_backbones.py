"""`moat backbones`."""

from __future__ import annotations

import pytest

from moat_det.backbones.timm import names
from moat_det.cli.main import run


def test_the_configurations_are_listed_with_their_licences(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("backbones", []) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["mobilevit_xxs"].split()[1:] == ["0.95", "M", "4", "8", "16", "32", "cvnets-license"]
    assert lines["convnextv2_atto"].endswith("cc-by-nc-4.0")
    assert lines["tiny_moat0"].split()[1:] == ["3.10", "M", "2", "4", "8", "16", "32", "apache-2.0"]
    assert "timm/resnet18" not in lines


def test_a_pattern_chooses_and_what_cannot_be_used_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("backbones", ["--filter", "timm/[vm]*it_[tx]*_patch16_224"]) == 0
    assert "1 more cannot be a detector's" in capsys.readouterr().out
    assert run("backbones", ["--filter", "nothing"]) == 2
    assert "--filter nothing: no backbone is called so; try '*nothing*'" in capsys.readouterr().err


def test_without_timm_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(names, "find_spec", lambda name: None)
    assert run("backbones", ["--filter", "*t_xxs"]) == 0
    assert "mobilevit_xxs need timm: pip install 'moat_det[timm]'" in capsys.readouterr().out
    assert run("backbones", ["--filter", "timm/*"]) == 2
    assert "called so without timm, which is not installed: pip install 'moat_det[timm]'" in capsys.readouterr().err
