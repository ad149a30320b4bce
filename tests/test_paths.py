"""The project's own YAMLs by name, and those of users by path."""

from __future__ import annotations

from pathlib import Path

from moat_det.benchmark.accuracy.runs import short_name
from moat_det.cli.commands.train import COMMAND
from moat_det.detector.build import find_config
from moat_det.paths import cfg_dir


def test_a_model_whose_suffix_is_in_capitals(tmp_path: Path) -> None:
    file = tmp_path / "Mine.YAML"
    file.write_text((cfg_dir() / "tiny_moat0.yaml").read_text())
    assert find_config(file) == find_config("tiny_moat0")
    assert short_name(str(file)) == "Mine"
    COMMAND.check({"model": str(file), "data": "demo"})
